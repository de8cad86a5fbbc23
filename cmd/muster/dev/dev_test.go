package dev

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/logtest"
	"github.com/muster-mdm/muster/sim"
)

// patience bounds each wait; a first run may have to install or build its servers.
const patience = 3 * time.Minute

// TestRuns goes through the runs of one folder: a first one, one that continues, one at another address with a damaged
// device, and ones whose servers are killed.
func TestRuns(t *testing.T) {
	dir := stateDir(t)
	o := options{dir: dir, listen: "127.0.0.1:0", devices: 8, seed: 3, plain: true, spread: time.Second, directory: directories.StartSlapd}

	first := o
	first.until = "enrolled"
	r := start(t, first)
	r.await("Muster is up")
	r.noteServers()
	require.NoError(t, r.ended())
	require.Contains(t, r.out.String(), "All devices that can be are Enrolled.")
	require.Contains(t, r.out.String(), "5 Enrolled")
	require.Contains(t, r.out.String(), `ZYLKER\bella and ZYLKER\chen set their devices up themselves`)
	r.requireAllGone()

	second := continues(t, o)
	moved := movesAndRepairs(t, o)
	require.NotEqual(t, second, moved)
	for _, server := range []string{"Temporal", "PostgreSQL"} {
		dies(t, o, server)
	}
	grows(t, o)
}

// continues runs on the same folder: all go on where they were, and a change reaches a device of the last run.
func continues(t *testing.T, o options) (url string) {
	r := start(t, o)
	r.await("7 of 8 virtual devices are enrolled from the last run")
	r.await("All devices that can be are Enrolled.")
	r.noteServers()
	api := r.api()
	for _, dev := range r.devices(api) {
		if dev.Epoch != 0 {
			require.Equal(t, 1, dev.Epoch, dev.Serial)
		}
	}
	for i, email := range map[int]string{1: "bella@zylker.com", 2: "chen@zylker.com"} {
		signedIn(t, api, sim.Serials(o.seed, o.devices)[i], email)
	}
	serial := assignedTo(t, r.devices(api), "zylker_drivers") // which the change takes back to Provisioning for a while
	number := int64(1)
	putApp(t, api, "notes", client.AppInput{BundleId: "com.example.notes", StoreId: &number})
	extendGroup(t, api, "zylker_drivers", "notes")
	r.eventually("a verified app on "+serial, func() bool { return verified(t, api, serial, "notes") })
	r.interrupt()
	require.NoError(t, r.ended())
	require.Contains(t, r.out.String(), "the next run goes on from there")
	r.requireAllGone()
	dev := rememberedDevice(t, o, serial)
	require.Equal(t, "Managed", dev.App("com.example.notes"))
	require.Len(t, dev.Media, 1)
	require.Equal(t, "Managed", dev.Media[0].State, "the group's document is on the device")
	require.Equal(t, 1, dev.Epoch)
	return r.url()
}

// grows runs with more devices than before: those that are new are bought, listed and enrolled, too.
func grows(t *testing.T, o options) {
	o.devices += 2
	o.until = "enrolled"
	r := start(t, o)
	r.await("of 10 virtual devices are enrolled from the last run")
	r.noteServers()
	require.NoError(t, r.ended())
	require.Contains(t, r.out.String(), "2 Awaiting · 8 Enrolled", "the device that was never on was assigned by then")
	r.requireAllGone()
}

// movesAndRepairs runs at another address, where the devices have to enroll anew, as the one with a damaged file has to.
// What was changed by hand stays.
func movesAndRepairs(t *testing.T, o options) (url string) {
	o.listen, o.listenGiven = freePort(t), true
	damaged := filepath.Join(o.dir, "devices", sim.Serials(o.seed, o.devices)[0]+".json")
	raw, err := os.ReadFile(damaged)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(damaged, raw[:len(raw)/2], 0o600))
	o.until = "enrolled"
	r := start(t, o)
	r.await("Muster is up")
	api, seen := r.api(), []client.Device(nil)
	require.NoError(t, r.endedWhile(func() {
		if devices, err := list(api); err == nil {
			seen = devices
		}
	}))
	require.Contains(t, r.out.String(), sim.Serials(o.seed, o.devices)[0]+" comes out of its box again: reading")
	require.Contains(t, r.out.String(), "where 6 devices would look for it: they come out of their boxes again")
	require.Contains(t, r.out.String(), "All devices that can be are Enrolled.")
	enrolledAnew := 0
	for _, dev := range seen {
		if dev.Epoch == 2 {
			enrolledAnew++
		}
	}
	require.Equal(t, 7, enrolledAnew)
	return r.url()
}

// dies runs until a server is killed, which must end it with the server's name and the end of its log.
func dies(t *testing.T, o options, server string) {
	r := start(t, o)
	r.await("Muster is up")
	pids := r.noteServers()
	require.NoError(t, syscall.Kill(pids[server], syscall.SIGKILL))
	err := r.ended()
	require.ErrorContains(t, err, server+" stopped by itself (signal: killed)")
	log, readErr := os.ReadFile(filepath.Join(o.dir, map[string]string{
		"PostgreSQL": "postgres/postgres.log", "Temporal": "temporal/temporal.log",
	}[server]))
	require.NoError(t, readErr)
	// PostgreSQL's children write on while they end, so what was told needn't be the end of the log any more.
	_, told, _ := strings.Cut(err.Error(), "the end of its log:\n")
	for line := range strings.Lines(told) {
		require.Contains(t, string(log), strings.TrimSpace(line))
	}
	require.True(t, strings.TrimSpace(told) != "" || len(log) == 0 && strings.HasSuffix(err.Error(), "its log is empty"), "%s\n%s", err, log)
	require.NotContains(t, err.Error(), "goroutine")
	r.requireAllGone()
}

func TestUnknownUntilIsRefused(t *testing.T) {
	err := run(t.Context(), options{dir: t.TempDir(), until: "tomorrow"}, &logtest.Log{})
	require.ErrorContains(t, err, `not "tomorrow"`)
}

func (r *running) api() *client.ClientWithResponses {
	r.t.Helper()
	token, err := os.ReadFile(filepath.Join(r.o.dir, "token"))
	require.NoError(r.t, err)
	api, err := client.NewClientWithResponses(r.url(), client.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		return nil
	}))
	require.NoError(r.t, err)
	return api
}

func (r *running) devices(api *client.ClientWithResponses) []client.Device {
	r.t.Helper()
	devices, err := list(api)
	require.NoError(r.t, err)
	require.Len(r.t, devices, r.o.devices)
	return devices
}

func list(api *client.ClientWithResponses) ([]client.Device, error) {
	res, err := api.ListDevicesWithResponse(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	if res.JSON200 == nil {
		return nil, errors.New(res.Status())
	}
	return res.JSON200.Devices, nil
}

func putApp(t *testing.T, api *client.ClientWithResponses, name string, input client.AppInput) {
	t.Helper()
	res, err := api.PutAppWithResponse(t.Context(), name, nil, input)
	require.NoError(t, err)
	require.NoError(t, wanted("creating the app", res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated))
}

func extendGroup(t *testing.T, api *client.ClientWithResponses, name, app string) {
	t.Helper()
	group, err := api.GetGroupWithResponse(t.Context(), name)
	require.NoError(t, err)
	require.NotNil(t, group.JSON200, string(group.Body))
	items := slices.Concat(group.JSON200.Items, []client.GroupItem{{Kind: client.AppItem, Name: app}})
	res, err := api.PutGroupWithResponse(t.Context(), name, nil, client.GroupInput{Items: items})
	require.NoError(t, err)
	require.NoError(t, wanted("changing the group", res.StatusCode(), res.Body, http.StatusOK))
}

// signedIn requires that somebody signed in on a device, which is theirs by that, and that the directory is known where it is now.
func signedIn(t *testing.T, api *client.ClientWithResponses, serial, email string) {
	t.Helper()
	dev, err := api.GetDeviceWithResponse(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, email, dev.JSON200.Assignment.User.Email)
	require.Equal(t, "enrollment_sign_in", dev.JSON200.Assignment.Origin.Source)
	tested, err := api.TestDirectoryWithBodyWithResponse(t.Context(), directoryName, nil, "application/json", nil)
	require.NoError(t, err)
	require.True(t, tested.JSON200.Works, string(tested.Body))
}

func assignedTo(t *testing.T, devices []client.Device, group string) (serial string) {
	t.Helper()
	for _, dev := range devices {
		if dev.Status == client.StatusEnrolled && dev.Assignment != nil && len(dev.Assignment.Groups) == 1 && dev.Assignment.Groups[0] == group {
			return dev.Serial
		}
	}
	t.Fatalf("no device is in %s", group)
	return ""
}

func verified(t *testing.T, api *client.ClientWithResponses, serial, app string) bool {
	t.Helper()
	res, err := api.GetDevicePlanWithResponse(t.Context(), serial)
	require.NoError(t, err)
	require.NotNil(t, res.JSON200, string(res.Body))
	for _, item := range res.JSON200.Items {
		if item.Name == app {
			return item.State == client.Verified
		}
	}
	return false
}

// rememberedDevice is what the folder holds of a device.
func rememberedDevice(t *testing.T, o options, serial string) sim.Snapshot {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(o.dir, "devices", serial+".json"))
	require.NoError(t, err)
	var r record
	require.NoError(t, json.Unmarshal(raw, &r))
	dev, err := sim.NewDevice(sim.Config{Serial: serial})
	require.NoError(t, err)
	t.Cleanup(dev.Close)
	require.NoError(t, dev.Restore(r.Device))
	return dev.Snapshot()
}

// stateDir is a folder that PostgreSQL's user can pass into when the tests run as root; t.TempDir's parents are closed.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "muster-dev-test-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// TestRunTakesTheDatabaseThatIsNamed shows that DATABASE_URL spares a private cluster.
func TestRunTakesTheDatabaseThatIsNamed(t *testing.T) {
	bin, err := devstack.FindPostgres(t.Context(), devstack.FindOptions{})
	require.NoError(t, err)
	postgres, err := devstack.StartPostgres(t.Context(), devstack.PostgresConfig{Bin: bin, ThrowAway: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, postgres.Stop()) })
	require.NoError(t, postgres.CreateDatabase(t.Context(), "theirs", ""))
	t.Setenv("DATABASE_URL", postgres.URL("theirs"))

	dir := stateDir(t)
	nowhere := func(context.Context, devstack.Progress, ...directories.Account) (*directories.Slapd, error) {
		return nil, devstack.ErrNotInstalled
	}
	r := start(t, options{dir: dir, listen: "127.0.0.1:0", devices: 2, seed: 5, plain: true, spread: time.Second, until: "enrolled", directory: nowhere})
	require.NoError(t, r.ended())
	require.Contains(t, r.out.String(), "Nobody signs in on their device in this demonstration: not installed.")
	require.Contains(t, r.out.String(), "2 Enrolled")
	require.NoDirExists(t, filepath.Join(dir, "postgres"))
}
