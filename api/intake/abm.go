package intake

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Codes of requests about Apple Business Manager servers.
const (
	// ServerUnlinked: the server has no token yet.
	ServerUnlinked provision.Code = "abm_server_unlinked"
	// ServerPaused: the server's syncs are paused.
	ServerPaused provision.Code = "abm_server_paused"
	// ServerWorks: the server works, so its devices aren't forgotten.
	ServerWorks provision.Code = "abm_server_works"
	// NameMismatch: the name that was typed to confirm is another one.
	NameMismatch provision.Code = "name_mismatch"
)

// How often a server is synced, and all its devices are listed anew.
const (
	DefaultSyncEvery = 5 * time.Minute
	DefaultFullEvery = 24 * time.Hour

	shortestSync = time.Minute
	longestSync  = 24 * time.Hour // Apple forgets a cursor after seven days
	shortestFull = time.Hour
	longestFull  = 30 * 24 * time.Hour
)

// serverName is the form of a server's name, which becomes part of workflow ids.
var serverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// PutABMServer creates an Apple Business Manager server, with the key pair that its tokens are encrypted for, or changes
// what people decide about it. Times of zero are the defaults.
func (i *Intake) PutABMServer(ctx context.Context, in store.ABMServerInput, condition store.Condition) (saved store.ABMServer, created bool, err error) {
	if !serverName.MatchString(in.Name) {
		return saved, false, provision.Errorf(provision.Invalid, "%.80q can't be the name of a server: it must be made of up to 63 lower-case letters, digits and hyphens.", in.Name).At("name")
	}
	in.Description = strings.TrimSpace(in.Description)
	if in.SyncEvery, err = bounded("sync_every", in.SyncEvery, DefaultSyncEvery, shortestSync, longestSync); err != nil {
		return saved, false, err
	}
	if in.FullEvery, err = bounded("full_every", in.FullEvery, DefaultFullEvery, shortestFull, longestFull); err != nil {
		return saved, false, err
	}
	if err := i.checkSignIns(ctx, in); err != nil {
		return saved, false, err
	}
	return i.db.PutABMServer(ctx, in, condition, i.newABMKeys)
}

func bounded(field string, given, byDefault, shortest, longest time.Duration) (time.Duration, error) {
	switch {
	case given == 0:
		return byDefault, nil
	case given < shortest || given > longest:
		return 0, provision.Errorf(provision.Invalid, "%q must be between %s and %s.", field, FormatDuration(shortest), FormatDuration(longest)).At(field)
	}
	return given, nil
}

// DeleteABMServer forgets a server that lists no devices.
func (i *Intake) DeleteABMServer(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteABMServer(ctx, name, condition)
}

// PauseABM stops or resumes the syncs of a server.
func (i *Intake) PauseABM(ctx context.Context, name string, paused bool) (store.ABMServer, error) {
	return i.db.PauseABM(ctx, name, paused)
}

// SyncABM has a server synced now; full has all its devices listed anew. It fails with [ServerUnlinked] and [ServerPaused].
func (i *Intake) SyncABM(ctx context.Context, name string, full bool) (store.ABMServer, error) {
	s, err := i.db.ABMServer(ctx, name)
	switch {
	case err != nil:
		return s, err
	case s.Health == store.Unlinked:
		return s, provision.Errorf(ServerUnlinked, "ABM server %q has no server token yet; link it first.", name)
	case s.Paused:
		return s, provision.Errorf(ServerPaused, "ABM server %q is paused; resume it first.", name)
	}
	return i.db.WantSync(ctx, name, full)
}

// forgetWithin leaves a request time for its answer.
const forgetWithin = 15 * time.Second

// ForgetABMDevices takes the devices of a server that is gone at Apple as unassigned; typed is the server's name as the
// administrator typed it again. With very many devices it ends early: left says how many are to be forgotten by asking
// again. It fails with [ServerWorks] for a server that is neither paused nor in trouble, which would list them again.
func (i *Intake) ForgetABMDevices(ctx context.Context, name, typed string) (left int, err error) {
	if typed != name {
		return 0, provision.Errorf(NameMismatch, "The name typed again is not %q; nothing was forgotten.", name).At("name")
	}
	s, err := i.db.ABMServer(ctx, name)
	if err != nil {
		return 0, err
	}
	if s.Health == store.Healthy && !s.Paused {
		return 0, provision.Errorf(ServerWorks, "ABM server %q works and lists %d devices, so they aren't forgotten. If it is gone for good, pause it first.", name, s.Devices)
	}
	for until := time.Now().Add(forgetWithin); time.Now().Before(until); {
		if left, err = i.db.ForgetABMDevices(ctx, name); err != nil || left == 0 {
			return left, err
		}
	}
	return left, nil
}
