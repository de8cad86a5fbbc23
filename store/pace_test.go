package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// duties reads what the worker owes the only device.
func (f *fleet) duties() (push *time.Time, tries int, poll *time.Time) {
	f.t.Helper()
	require.NoError(f.t, f.sql.QueryRow(f.t.Context(), `SELECT push_at, push_tries, poll_at FROM devices`).Scan(&push, &tries, &poll))
	return push, tries, poll
}

// planned is a device with a plan that brings these items, assigned and enrolled.
func (f *fleet) planned(items ...string) *phone {
	f.t.Helper()
	f.group("g", items...)
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	return p
}

func TestADeviceThatIsAlwaysBusyIsPushedMoreAndMoreRarely(t *testing.T) {
	f := newFleet(t)
	p := f.planned()
	var pauses []time.Duration
	uuid, _ := p.next(false)
	for range 12 {
		p.report(uuid, provision.Answer{Status: provision.AnswerNotNow})
		at, _, _ := f.duties()
		pause := at.Sub(f.Now())
		pauses = append(pauses, pause.Round(time.Minute))
		f.clock.pass(pause + time.Second)
		due, _, err := f.DuePushes(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, due, 1)
	}
	m := time.Minute
	require.Equal(t, []time.Duration{m, 2 * m, 4 * m, 8 * m, 16 * m, 32 * m, 64 * m, 128 * m, 256 * m, 360 * m, 360 * m, 360 * m}, pauses)

	p.report(uuid, acknowledged)
	at, tries, _ := f.duties()
	require.Zero(t, tries, "it is there: everything begins anew")
	require.WithinDuration(t, f.Now().Add(store.DefaultTiming().Connected), *at, time.Second)
	uuid, _ = p.next(false)
	f.clock.pass(time.Hour)
	p.report(uuid, provision.Answer{Status: provision.AnswerNotNow})
	at, _, _ = f.duties()
	require.WithinDuration(t, f.Now().Add(time.Minute), *at, time.Second)
}

func TestAnAppThatWaitsForAPersonIsAskedAfterMoreAndMoreRarely(t *testing.T) {
	f := newFleet(t)
	f.app("mail")
	p := f.planned("app:mail")
	say := func(state string) time.Duration {
		for uuid, what := p.next(false); uuid != ""; uuid, what = p.next(false) {
			if what != "ManagedApplicationList ManagedApplicationList" {
				p.obey()
				continue
			}
			p.report(uuid, provision.Answer{Status: provision.AnswerAcknowledged, Apps: map[string]string{"com.example.mail": state}})
		}
		_, _, poll := f.duties()
		return poll.Sub(f.Now()).Round(time.Second)
	}
	pause := say("PromptingForLogin")
	asked := 1
	for ; asked < 20; asked++ {
		require.LessOrEqual(t, pause, 5*time.Minute)
		f.clock.pass(pause)
		f.poll(serial)
		pause = say("PromptingForLogin")
	}
	var pauses []time.Duration
	for range 9 {
		f.clock.pass(pause)
		f.poll(serial)
		pause = say("PromptingForLogin")
		pauses = append(pauses, pause.Round(time.Minute))
	}
	m := time.Minute
	require.Equal(t, []time.Duration{10 * m, 20 * m, 40 * m, 80 * m, 160 * m, 320 * m, 360 * m, 360 * m, 360 * m}, pauses)
	f.clock.pass(pause)
	f.poll(serial)
	require.Equal(t, 5*time.Second, say("Installing"), "somebody has signed in")
}

// deadPushError is what Apple's push service says of a token that it knows no more.
type deadPushError struct{ dead bool }

func (deadPushError) Error() string     { return "Unregistered" }
func (d deadPushError) TokenDead() bool { return d.dead }

func TestADeadTokenIsPushedNoMoreUntilTheDeviceSendsAnother(t *testing.T) {
	f := newFleet(t)
	f.planned()
	claim := func() int {
		due, _, err := f.DuePushes(t.Context(), 10)
		require.NoError(t, err)
		return len(due)
	}
	renew := func() { require.NoError(t, f.TokenRenewed(t.Context(), serial, false)) }
	require.Equal(t, 1, claim())
	require.NoError(t, f.Pushed(t.Context(), serial, deadPushError{false}))
	at, _, _ := f.duties()
	require.NotNil(t, at, "that may pass")
	require.NoError(t, f.Pushed(t.Context(), serial, fmt.Errorf("pushing: %w", deadPushError{true})))
	at, _, _ = f.duties()
	require.Nil(t, at)
	f.clock.pass(48 * time.Hour)
	require.Zero(t, claim())
	require.Equal(t, 1, f.count(`devices WHERE push_error LIKE '%Unregistered%'`))

	renew()
	require.Equal(t, 1, f.count(`devices WHERE push_at IS NOT NULL AND push_error = ''`))
	require.NoError(t, f.Pushed(t.Context(), serial, deadPushError{true}))
	at, _, _ = f.duties()
	require.NotNil(t, at, "that push went to the token before")
	require.Equal(t, 1, claim())
	require.NoError(t, f.Pushed(t.Context(), serial, nil))
	renew()
	require.Equal(t, 1, claim(), "it is there now, so there is no need to wait")
}

func TestATokenOfADeviceThatWaitsForNothingWishesNoPush(t *testing.T) {
	f := newFleet(t)
	p := f.enroll(serial)
	require.NoError(t, f.TokenRenewed(t.Context(), p.serial, false))
	at, _, _ := f.duties()
	require.Nil(t, at)
	require.Error(t, f.TokenRenewed(t.Context(), "DNPXK0ZXYZ12", false))
}

// The answer to DeviceConfigured was lost when the device restarted, and it refuses another one, being out already.
func TestATokenTellsThatTheDeviceHasLeftSetup(t *testing.T) {
	f := newFleet(t)
	f.assign(serial)
	p := f.boot(serial, "U1", true)
	require.NoError(t, f.TokenRenewed(t.Context(), serial, false))
	d := f.apply(serial, 0, 1)
	require.True(t, d.SetupLeft(), "nobody told it to")
	_, step := f.next(serial)
	f.carry(serial, step)
	p.refuseSetup("not in Setup Assistant")
	require.NoError(t, f.TokenRenewed(t.Context(), serial, true))
	_, step = f.next(serial)
	require.NotEqual(t, provision.ConcludeEnrolled, step.Do)
	for range 2 {
		require.NoError(t, f.TokenRenewed(t.Context(), serial, false))
	}
	_, step = f.next(serial)
	require.Equal(t, provision.ConcludeEnrolled, step.Do)
	require.Equal(t, 1, f.count(`device_events WHERE kind = 'setup_finished'`))
	f.clock.pass(time.Hour)
	require.NoError(t, f.Poll(t.Context(), serial))
	require.Empty(t, p.obeyAll(), "it isn't told again")
}

func TestWhatNothingWaitsForIsTriedAgainByThePolls(t *testing.T) {
	f := newFleet(t)
	f.configuration("wallpaper", 1, "wallpaper")
	f.app("weather")
	p := f.planned("wallpaper best_effort", "app:weather best_effort")
	says := map[string]provision.Answer{"InstallProfile wallpaper": refused("no space left")}
	say := func() (installs []string) {
		for uuid, what := p.next(false); uuid != ""; uuid, what = p.next(false) {
			if strings.HasPrefix(what, "Install") {
				installs = append(installs, what)
			}
			if a, given := says[what]; given {
				p.report(uuid, a)
				continue
			}
			p.obey()
		}
		return installs
	}
	says["ManagedApplicationList ManagedApplicationList"] = provision.Answer{
		Status: provision.AnswerAcknowledged, Apps: map[string]string{"com.example.weather": "UserRejected"},
	}
	require.Equal(t, []string{"InstallProfile wallpaper", "InstallApplication weather"}, say())
	_, step := f.next(serial)
	f.carry(serial, step)
	facts := f.kinds(serial)
	require.Equal(t, "enrolled", facts[len(facts)-1])

	pauses := store.DefaultTiming().RetryAfter
	for n, pause := range pauses {
		_, _, poll := f.duties()
		require.WithinDuration(t, f.Now().Add(pause), *poll, time.Second, "retry %d", n+1)
		f.clock.pass(pause)
		f.poll(serial)
		push, _, _ := f.duties()
		require.NotNil(t, push, "the device is woken for it")
		require.Equal(t, []string{"InstallProfile wallpaper"}, say(), "nobody is asked again for what they declined")
	}
	_, _, poll := f.duties()
	require.Nil(t, poll, "that was the last time")
	require.Equal(t, 1, f.count(`plan_items WHERE name = 'wallpaper' AND state = 'failed' AND retries = $1 AND NOT final`, len(pauses)))
	require.Equal(t, 1, f.count(`plan_items WHERE name = 'weather' AND state = 'failed' AND retries = 0 AND final`))
	require.Equal(t, len(pauses)+1, f.count(`(SELECT DISTINCT command_uuid FROM device_commands WHERE name = 'wallpaper' AND request_type = 'InstallProfile') AS sent`))
	require.Equal(t, facts, f.kinds(serial), "it decides nothing, so no fact tells of it")

	delete(says, "InstallProfile wallpaper")
	d := f.record(serial, provision.Fact{Kind: provision.RetryItem})
	f.apply(serial, d.Plan.By, 1)
	say()
	require.Equal(t, 1, f.count(`plan_items WHERE name = 'wallpaper' AND state = 'verified'`), "an operator may have it tried again")
}

func TestARetryWaitsForADeviceThatNothingMayBeSentTo(t *testing.T) {
	f := newFleet(t)
	f.configuration("wallpaper", 1, "wallpaper")
	p := f.planned("wallpaper best_effort")
	p.obey()
	uuid, what := p.next(false)
	require.Equal(t, "InstallProfile wallpaper", what)
	p.report(uuid, refused("no space left"))
	f.record(serial, provision.Fact{Kind: provision.HoldRequest})
	f.clock.pass(time.Hour)
	require.NoError(t, f.Poll(t.Context(), serial))
	require.NotContains(t, p.obeyAll(), "InstallProfile wallpaper")

	f.record(serial, provision.Fact{Kind: provision.ResumeRequest})
	f.poll(serial)
	require.Contains(t, p.obeyAll(), "InstallProfile wallpaper")
	require.Equal(t, 1, f.count(`plan_items WHERE name = 'wallpaper' AND state = 'verified'`))
}
