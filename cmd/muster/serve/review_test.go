package serve_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/sim"
)

// reception is a school of which every device is reserved for Bob, and Andrew signs in. Its worker is a process of its own.
type reception struct {
	*site
	service   *serve.Service
	slapd     *directories.Slapd
	temporal  client.Client
	namespace string
	settings  []string
	worker    *devstack.Program
	sql       *pgx.Conn
	devices   int
}

func openReception(t *testing.T) *reception {
	t.Helper()
	r := &reception{site: newSite(t), slapd: directorytest.OpenLDAP(t)}
	secured, address, namespace := r.secured()
	r.namespace = namespace
	var err error
	r.service, err = r.start(append(secured, "MUSTER_ROLES=mdm,api")...)
	require.NoError(t, err)
	r.settings = append(r.environ(secured...), "MUSTER_ROLES=worker", "MUSTER_PUBLIC_URL="+r.service.URL(), asMuster+"=yes")
	r.temporal, err = client.Dial(client.Options{HostPort: address, Namespace: namespace, Logger: silent{}})
	require.NoError(t, err)
	t.Cleanup(r.temporal.Close)
	r.sql, err = pgx.Connect(t.Context(), r.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.sql.Close(context.Background()) })

	r.school(r.service, r.slapd)
	for _, group := range []string{"kiosks", "zylker_drivers"} {
		r.rest(r.service, "PUT", "/v1/configurations/"+group, notice(group))
		r.rest(r.service, "PUT", "/v1/groups/"+group, map[string]any{"items": []any{map[string]any{"kind": "configuration", "name": group}}})
	}
	r.startWorker()
	t.Cleanup(func() { require.NoError(t, r.worker.Stop()) })
	return r
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

func (r *reception) startWorker() {
	r.t.Helper()
	var err error
	r.worker, err = devstack.StartProgram(devstack.ProgramConfig{
		Name: "the worker", Args: []string{os.Args[0], "serve"}, Env: append(os.Environ(), r.settings...), Log: filepath.Join(r.dir, "worker.log"),
	})
	require.NoError(r.t, err)
}

func identifierOf(group string) string { return "com.zylker." + group }

// notice is a profile by which a test sees on the device whose groups it got.
func notice(group string) []byte {
	const form = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>%[1]s</string>
<key>PayloadUUID</key><string>5F6C9A3E-7B1D-4D0C-9C52-2B8E1A7F4C11</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>com.apple.shareddeviceconfiguration</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>%[1]s.1</string>
<key>PayloadUUID</key><string>0C1B3D8E-2F57-4E64-8A0B-6D9F3E5A7B22</string>
</dict></array>
</dict></plist>`
	return fmt.Appendf(nil, form, identifierOf(group))
}

// holds sets how long the devices that are signed in on next wait for a decision, which then is this. The API asks for five minutes at
// least.
func (r *reception) holds(limit time.Duration, choice provision.ReviewChoice) {
	r.t.Helper()
	_, err := r.sql.Exec(r.t.Context(), `UPDATE abm_servers SET sign_in_hold = $1, sign_in_hold_choice = $2`, limit, choice)
	require.NoError(r.t, err)
}

// held is a device of which it is to be decided who it is for.
type held struct {
	*sim.Device
	serial string
	until  time.Time
}

// arrive has andrew sign in on a device that is reserved for bob.
func (r *reception) arrive() held {
	r.t.Helper()
	r.devices++
	h := held{serial: fmt.Sprintf("C07Q853LG9%02d", r.devices)}
	r.listed(h.serial)
	r.rest(r.service, "PUT", "/v1/devices/"+h.serial+"/assignment", map[string]any{
		"user": map[string]any{"name": "bob", "domain": directories.Domain, "email": "bob@zylker.com"}, "groups": []string{"kiosks"},
	})
	h.Device = r.used(r.service, r.slapd, h.serial)
	d, err := r.db.Device(r.t.Context(), h.serial)
	require.NoError(r.t, err)
	require.True(r.t, d.InReview())
	h.until = *d.Review.Until
	return h
}

// workflow waits until the device's workflow has come so far.
func (r *reception) workflow(serial, what string, reached func(signals.Status) bool) signals.Status {
	r.t.Helper()
	door := signals.New(r.temporal, signals.TaskQueue)
	var last signals.Status
	var err error
	require.Eventually(r.t, func() bool {
		last, err = door.Status(r.t.Context(), serial)
		return err == nil && reached(last)
	}, time.Minute, 20*time.Millisecond, "%s: %+v, %v; %s", what, &last, &err, r.worker.LogTail(20))
	return last
}

// blocked are the devices that Temporal's visibility shows as waiting for a decision.
func (r *reception) blocked(serial string) int {
	r.t.Helper()
	list, err := r.temporal.ListWorkflow(r.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: r.namespace,
		Query:     fmt.Sprintf("MusterBlockedBy = 'sign_in_review' AND WorkflowId = '%s'", signals.WorkflowID(serial)),
	})
	require.NoError(r.t, err)
	return len(list.Executions)
}

// waits checks that everybody can see what the device waits for, and that it got nothing.
func (r *reception) waits(h held) {
	r.t.Helper()
	told := r.workflow(h.serial, "the workflow knows", func(s signals.Status) bool { return s.BlockedBy == "sign_in_review" && s.Epoch == 1 })
	require.Contains(r.t, told.Waits[0].For, "one of the two must be chosen")
	require.WithinDuration(r.t, h.until, *told.Waits[0].Until, time.Millisecond)
	require.Eventually(r.t, func() bool { return r.blocked(h.serial) == 1 }, time.Minute, 50*time.Millisecond)

	shown := r.rest(r.service, "GET", "/v1/devices/"+h.serial, nil)
	require.Equal(r.t, "sign_in_review", shown["blocked_by"])
	review := shown["review"].(map[string]any)
	require.Equal(r.t, "bob", review["reserved"].(map[string]any)["name"])
	require.Equal(r.t, "andrew", review["signed_in"].(map[string]any)["name"])
	explained := r.rest(r.service, "GET", "/v1/devices/"+h.serial+"/explain", nil)["waits"].([]any)[0].(map[string]any)
	require.Equal(r.t, "a technician, with review", explained["who"])
	require.Contains(r.t, explained["for"], "one of the two must be chosen")
	require.Equal(r.t, review["until"], explained["until"])

	s := h.Snapshot()
	require.True(r.t, s.AwaitingConfiguration, "it stays in Setup Assistant")
	require.Len(r.t, s.Profiles, 1, "the enrollment profile alone")
}

// decided checks that the device is Enrolled for one of the two, with their groups, and that it was decided once.
func (r *reception) decided(h held, choice provision.ReviewChoice) provision.Fact {
	r.t.Helper()
	user, group := "bob@zylker.com", "kiosks"
	if choice == provision.TakeSignedIn {
		user, group = "andrew@zylker.com", "zylker_drivers"
	}
	r.until(h.serial, "it is Enrolled", func(d provision.Device) bool { return d.Status() == provision.StatusEnrolled })
	shown := r.rest(r.service, "GET", "/v1/devices/"+h.serial+"/assignment", nil)
	require.Equal(r.t, user, shown["user"].(map[string]any)["email"])
	require.Equal(r.t, []any{group}, shown["groups"])
	s := h.Snapshot()
	require.False(r.t, s.AwaitingConfiguration, "it left Setup Assistant")
	require.Len(r.t, s.Profiles, 2)
	require.Contains(r.t, []string{s.Profiles[0].Identifier, s.Profiles[1].Identifier}, identifierOf(group))
	told := r.workflow(h.serial, "the workflow knows", func(s signals.Status) bool { return s.Status == provision.StatusEnrolled })
	require.Empty(r.t, told.BlockedBy)
	require.Eventually(r.t, func() bool { return r.blocked(h.serial) == 0 }, time.Minute, 50*time.Millisecond)

	decisions := r.decisions(h.serial)
	require.Len(r.t, decisions, 1, "%+v", decisions)
	return decisions[0]
}

const decisions = `
SELECT payload
FROM device_events
WHERE serial = $1 AND kind IN ('assigned', 'unassigned', 'sign_in_reviewed')
    AND id > (SELECT max(id) FROM device_events WHERE serial = $1 AND kind = 'sign_in_held')
ORDER BY id`

func (r *reception) decisions(serial string) []provision.Fact {
	r.t.Helper()
	rows, err := r.sql.Query(r.t.Context(), decisions, serial)
	require.NoError(r.t, err)
	facts, err := pgx.CollectRows(rows, pgx.RowTo[provision.Fact])
	require.NoError(r.t, err)
	return facts
}

var bothChoices = []provision.ReviewChoice{provision.KeepReserved, provision.TakeSignedIn}

func other(c provision.ReviewChoice) provision.ReviewChoice {
	if c == provision.KeepReserved {
		return provision.TakeSignedIn
	}
	return provision.KeepReserved
}

// R53: somebody signs in on a device that is reserved for another, and it waits until a technician decides.
func TestHeldSignInIsDecidedByPeople(t *testing.T) {
	r := openReception(t)
	for _, choice := range bothChoices {
		r.holds(time.Hour, other(choice))
		h := r.arrive()
		r.waits(h)
		decide := func() (int, map[string]any) {
			return r.ask(r.service, "POST", "/v1/devices/"+h.serial+":review", map[string]any{"choice": choice})
		}
		status, answer := decide()
		require.Equal(t, http.StatusOK, status, "%v", answer)
		fact := r.decided(h, choice)
		require.NotEmpty(t, fact.Actor)
		require.Empty(t, fact.Reason)
		status, answer = decide()
		require.Equal(t, http.StatusConflict, status)
		require.Equal(t, "device_not_in_review", answer["code"])
	}
	r.holds(time.Hour, provision.TakeSignedIn)
	h := r.arrive()
	r.waits(h)
	require.NoError(t, r.temporal.SignalWorkflow(t.Context(), signals.WorkflowID(h.serial), "", string(provision.SignInReviewed), nil))
	require.Equal(t, provision.FromOperator, r.decided(h, provision.KeepReserved).Source, "an operator, by Temporal")
}

// shortHold is enough for a few devices to enroll and be looked at on a busy machine.
const shortHold = 8 * time.Second

// Nobody decides: the workflow's own timer does, as the policy says.
func TestHeldSignInIsDecidedByItsTime(t *testing.T) {
	r := openReception(t)
	var waiting []held
	for _, choice := range bothChoices {
		r.holds(shortHold, choice)
		waiting = append(waiting, r.arrive())
	}
	for _, h := range waiting {
		r.waits(h)
	}
	for i, h := range waiting {
		fact := r.decided(h, bothChoices[i])
		require.Equal(t, "Nobody decided in time.", fact.Reason)
		require.Equal(t, map[provision.ReviewChoice]provision.Source{
			provision.KeepReserved: provision.FromWorkflow, provision.TakeSignedIn: provision.FromSignIn,
		}[bothChoices[i]], fact.Source)
		require.False(t, fact.At.Before(h.until), "not before the time is up")
	}
}

// The worker's process is dead when the time is up: it decides when it is back, unless a technician did meanwhile.
func TestHeldSignInWhoseTimeIsUpWhileTheWorkerIsDead(t *testing.T) {
	r := openReception(t)
	var waiting []held
	for _, choice := range append(bothChoices, provision.KeepReserved) {
		r.holds(shortHold, choice)
		waiting = append(waiting, r.arrive())
	}
	for _, h := range waiting {
		r.waits(h)
	}
	r.worker.Kill()
	require.True(t, time.Now().Before(waiting[0].until), "the machine is too slow for this: the time was up before the worker was killed")
	late := waiting[2]
	<-time.After(time.Until(late.until.Add(100 * time.Millisecond)))
	for _, h := range waiting {
		require.Empty(t, r.decisions(h.serial), "nobody is there to decide")
		require.Equal(t, "sign_in_review", r.rest(r.service, "GET", "/v1/devices/"+h.serial, nil)["blocked_by"])
	}
	r.rest(r.service, "POST", "/v1/devices/"+late.serial+":review", map[string]any{"choice": provision.TakeSignedIn})
	r.startWorker()
	for i, choice := range bothChoices {
		require.Equal(t, "Nobody decided in time.", r.decided(waiting[i], choice).Reason)
	}
	require.Empty(t, r.decided(late, provision.TakeSignedIn).Reason, "the timer came too late")
}

// A technician decides in the very moment in which the time is up: one of the two counts, and the technician is told which.
func TestDecisionInTheMomentTheTimeIsUp(t *testing.T) {
	r := openReception(t)
	offsets := []int{-10, 0, 10, 25, 50, 100, 200, 400} // ms; Temporal's timers are late by tens of them
	waiting, statuses := make([]held, len(offsets)), make([]int, len(offsets))
	r.holds(shortHold, provision.KeepReserved)
	var all sync.WaitGroup
	for i, offset := range offsets {
		h := r.arrive()
		waiting[i] = h
		all.Go(func() {
			<-time.After(time.Until(h.until.Add(time.Duration(offset) * time.Millisecond)))
			statuses[i], _ = r.ask(r.service, "POST", "/v1/devices/"+h.serial+":review", map[string]any{"choice": provision.TakeSignedIn})
		})
	}
	all.Wait()
	won := 0
	for i, h := range waiting {
		switch statuses[i] {
		case http.StatusOK:
			won++
			require.Empty(t, r.decided(h, provision.TakeSignedIn).Reason)
		case http.StatusConflict:
			require.Equal(t, "Nobody decided in time.", r.decided(h, provision.KeepReserved).Reason)
		default:
			t.Fatalf("the decision on %s was answered %d", h.serial, statuses[i])
		}
	}
	t.Logf("the technician was first on %d of %d devices", won, len(waiting))
}
