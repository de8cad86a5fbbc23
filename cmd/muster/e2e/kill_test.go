package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
)

func TestWorkerAndAPIKilledWhileFiftyDevicesEnroll(t *testing.T) {
	const devices = 50
	env := start(t, environment.Config{})
	progress := make(chan rehearse.Progress, 1000)
	killed := make(chan error, 1)
	go func() { killed <- killTwice(t, env, progress) }()
	report := rehearsal(t, env, rehearse.Config{
		Lives: rehearse.DrawEnrolling(3, devices), Seed: 3,
		Progress: func(p rehearse.Progress) { progress <- p },
	})
	close(progress)
	require.NoError(t, <-killed)
	require.True(t, report.Good(), report.Summary())
	require.Equal(t, map[string]int{"Enrolled": devices}, report.ByStatus)
	require.Zero(t, report.CommandsSentTwice)
}

// killTwice kills both processes when the first devices are Enrolled and again when half of them are, and starts them anew.
func killTwice(t *testing.T, env *environment.Environment, progress <-chan rehearse.Progress) error {
	for _, at := range []int{5, 25} {
		reached := false
		for p := range progress {
			// A kill after the work is done would prove nothing.
			if reached = p.Enrolled >= at && p.Enrolled < p.Devices; reached {
				t.Logf("killing worker and API while %d of %d devices are Enrolled", p.Enrolled, p.Devices)
				break
			}
		}
		if !reached {
			return fmt.Errorf("the rehearsal ended before %d devices were Enrolled, so nothing was killed in the middle", at)
		}
		env.KillWorker()
		env.KillAPI()
		if err := env.StartAPI(t.Context()); err != nil {
			return err
		}
		if err := env.StartWorker(t.Context()); err != nil {
			return err
		}
		drain(progress)
	}
	return nil
}

// drain forgets the progress from before the restart.
func drain(progress <-chan rehearse.Progress) {
	for {
		select {
		case <-progress:
		default:
			return
		}
	}
}
