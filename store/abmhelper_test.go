package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const school = "school"

func noKeys() (certificate, key []byte, err error) {
	return []byte("certificate"), []byte("private key in clear"), nil
}

// token is a server token whose consumer key names the server at Apple.
func token(consumer string, until time.Time) func(certificate, key []byte) (store.ABMToken, error) {
	return func(_, _ []byte) (store.ABMToken, error) {
		return store.ABMToken{ConsumerKey: consumer, ExpiresAt: until, Secret: json.RawMessage(`{"secret":"token in clear"}`)}, nil
	}
}

// server sets an ABM server up without linking it.
func (f *fleet) server(name, profile string) store.ABMServer {
	f.t.Helper()
	in := store.ABMServerInput{Name: name, DefaultProfile: profile, SyncEvery: 5 * time.Minute, FullEvery: 24 * time.Hour}
	s, _, err := f.PutABMServer(f.t.Context(), in, store.Condition{}, noKeys)
	require.NoError(f.t, err)
	return s
}

// linked sets servers up and links each with an MDM server of its own at Apple.
func (f *fleet) linked(names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.server(name, "")
		_, err := f.LinkABM(f.t.Context(), name, false, token("CK_"+name, f.Now().Add(365*24*time.Hour)))
		require.NoError(f.t, err)
	}
}

// sweep compares the profiles of a server's devices and says how many of them Apple is to be asked for anew.
func (f *fleet) sweep(server string) int64 {
	f.t.Helper()
	n, err := f.SweepProfiles(f.t.Context(), server)
	require.NoError(f.t, err)
	return n
}

func (f *fleet) task(server string) store.ABMTask {
	f.t.Helper()
	task, err := f.NextABMTask(f.t.Context(), server)
	require.NoError(f.t, err)
	return task
}

// take takes a page as the answer to the server's next task, under a cursor of its own.
func (f *fleet) take(server string, more bool, records ...store.ABMRecord) store.ABMTaken {
	f.t.Helper()
	f.pages++
	taken, err := f.TakeABMPage(f.t.Context(), store.ABMPage{
		Task: f.task(server), Next: fmt.Sprintf("cursor %d", f.pages), More: more, Records: records,
	})
	require.NoError(f.t, err)
	return taken
}

// conclude goes on to the end of a full fetch and returns how many devices are missing.
func (f *fleet) conclude(server string) (missing int) {
	f.t.Helper()
	for task := f.task(server); task.Phase == store.PhaseConclude; {
		next, n, err := f.ConcludeABMFetch(f.t.Context(), task)
		require.NoError(f.t, err)
		task, missing = next, missing+n
	}
	return missing
}

// fetched lists all of a server's devices in one full fetch, to its end.
func (f *fleet) fetched(server string, serials ...string) (missing int) {
	f.t.Helper()
	if f.task(server).Phase != store.PhaseFetch {
		_, err := f.WantSync(f.t.Context(), server, true)
		require.NoError(f.t, err)
	}
	for chunk := range slices.Chunk(serials, 1000) {
		f.take(server, true, records(chunk...)...)
	}
	f.take(server, false)
	return f.conclude(server)
}

// records are devices as a fetch lists them.
func records(serials ...string) []store.ABMRecord {
	list := make([]store.ABMRecord, len(serials))
	for i, s := range serials {
		list[i] = store.ABMRecord{Serial: s, Model: "iPad", ProfileStatus: "empty"}
	}
	return list
}

// op is a device as a sync tells of it.
func op(serial, what string, at time.Time) store.ABMRecord {
	return store.ABMRecord{Serial: serial, Model: "iPad", ProfileStatus: "empty", OpType: what, OpDate: at}
}

func (f *fleet) device(serial string) provision.Device {
	f.t.Helper()
	d, err := f.Device(f.t.Context(), serial)
	require.NoError(f.t, err)
	require.Equal(f.t, f.refolded(serial), d, "the row is what the facts amount to")
	return d
}

// stands says how ABM stands to a device: "present school", "conflict home school".
func (f *fleet) stands(serial string) string {
	f.t.Helper()
	abm := f.device(serial).ABM
	text := string(abm.State) + " " + abm.Server
	if abm.Other != "" {
		text += " " + abm.Other
	}
	return text
}

func (f *fleet) abmServer(name string) store.ABMServer {
	f.t.Helper()
	s, err := f.ABMServer(f.t.Context(), name)
	require.NoError(f.t, err)
	return s
}

// profile saves a device profile with a department, which makes contents differ.
func (f *fleet) profile(name, department string) store.DeviceProfile {
	f.t.Helper()
	p, _, err := f.PutDeviceProfile(f.t.Context(), store.DeviceProfile{
		Name: name, ActivationMode: "by_admin", Fields: json.RawMessage(fmt.Sprintf(`{"department": %q}`, department)),
	}, store.Edit{})
	require.NoError(f.t, err)
	return p
}

// owed says what is to be asked of Apple: "C1 assign_profile kiosk/2 tries 1".
func (f *fleet) owed() []string {
	f.t.Helper()
	rows, err := f.sql.Query(f.t.Context(), `SELECT format('%s %s %s/%s tries %s', serial, verb, coalesce(profile, ''), content, tries) FROM abm_duties ORDER BY 1`)
	require.NoError(f.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(f.t, err)
	return list
}

func (f *fleet) claim(server string) []store.ABMDuty {
	f.t.Helper()
	list, err := f.ClaimABMDuties(f.t.Context(), server, 1000)
	require.NoError(f.t, err)
	slices.SortFunc(list, func(a, b store.ABMDuty) int { return strings.Compare(a.Serial, b.Serial) })
	return list
}

// answer answers all duties that are due at a server alike.
func (f *fleet) answer(server string, outcome provision.ABMOutcome, result string, again time.Duration) int {
	f.t.Helper()
	list := f.claim(server)
	answers := make([]store.ABMAnswer, len(list))
	for i, d := range list {
		answers[i] = store.ABMAnswer{Duty: d, Outcome: outcome, Result: result, Again: again, UUID: "uuid"}
	}
	require.NoError(f.t, f.AnswerABMDuties(f.t.Context(), answers))
	return len(list)
}

func serials(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("C%07d", i)
	}
	return list
}
