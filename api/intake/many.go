package intake

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Codes of requests about many devices.
const (
	// ConfirmationRequired: what was asked for can't be undone easily, so it is to be confirmed.
	ConfirmationRequired provision.Code = "confirmation_required"
	// ConfirmationCount: the number of devices that was typed is another one.
	ConfirmationCount provision.Code = "confirmation_count_mismatch"
	// TooManyDevices: more than [store.MostDevices].
	TooManyDevices provision.Code = "too_many_devices"
	// NoDevices: the filter finds none, or the list is empty.
	NoDevices provision.Code = "no_devices"
)

// ConfirmationLasts is how long a confirmation may be used.
const ConfirmationLasts = 15 * time.Minute

// ManyWish is what shall be done to many devices.
type ManyWish struct {
	// Kind is one of store.Op….
	Kind string
	// Serials, or a filter that finds the devices.
	Serials []string
	Filter  *store.DeviceFilter
	// Assignment is that of an assign; Reason is that of a deprovision or release, and By the way of the first.
	Assignment *AssignmentWish
	Reason, By string
	// Confirmation is the secret of an earlier [ConfirmationError]; Count the number of devices typed again, of a release.
	Confirmation string
	Count        *int
}

// ConfirmationError says what would happen, and how to have it happen. Its code is [ConfirmationRequired].
type ConfirmationError struct {
	Why *provision.Error
	// Secret is to be sent with the same request before Expires.
	Secret  string
	Expires time.Time
	Devices int
	// Consequences say what would happen to how many devices of each status.
	Consequences []Consequence
}

// Error is the sentence.
func (e *ConfirmationError) Error() string { return e.Why.Message }

// Unwrap gives the code.
func (e *ConfirmationError) Unwrap() error { return e.Why }

// Consequence is what would happen to the devices of a status.
type Consequence struct {
	Status  string
	Devices int
	// Effect is a sentence; Refused is a code when nothing would be done.
	Effect  string
	Refused provision.Code
}

// Many has something done to many devices by workers, and returns the operation to follow. What can't be undone easily fails
// with a [ConfirmationError] first.
func (i *Intake) Many(ctx context.Context, by Actor, w ManyWish) (store.Operation, error) {
	request, err := i.manyRequest(w)
	if err != nil {
		return store.Operation{}, err
	}
	rows, err := i.manyRows(ctx, w)
	if err != nil {
		return store.Operation{}, err
	}
	n := store.NewOperation{Kind: w.Kind, Request: request, Rows: rows, Actor: by.ID, Source: by.Source}
	if w.Kind == store.OpAssign {
		return i.db.CreateOperation(ctx, n)
	}
	n.Confirmation = &store.Confirmation{Actor: by.ID, Fingerprint: fingerprint(n)}
	if w.Confirmation == "" {
		return store.Operation{}, i.askToConfirm(ctx, n)
	}
	if w.Kind == store.OpRelease && (w.Count == nil || *w.Count != len(rows)) {
		return store.Operation{}, provision.Errorf(ConfirmationCount, "The number typed again is not %d, the number of devices; nothing was released.", len(rows)).At("count")
	}
	n.Confirmation.Hash = hashOf(w.Confirmation)
	return i.db.CreateOperation(ctx, n)
}

func (i *Intake) manyRequest(w ManyWish) (store.OperationRequest, error) {
	r := store.OperationRequest{Reason: w.Reason, By: w.By}
	switch w.Kind {
	case store.OpAssign:
		wish, err := i.check(*w.Assignment)
		if err != nil {
			return r, within("assignment", err)
		}
		r.Wish, r.ExpectedBy = &wish, w.Assignment.ExpectedBy
	case store.OpDeprovision:
		return r, provision.CheckDeprovision(w.Reason, w.By)
	case store.OpRelease:
		return r, provision.CheckRelease(w.Reason)
	}
	return r, nil
}

// manyRows are the devices that are meant, each once.
func (i *Intake) manyRows(ctx context.Context, w ManyWish) ([]store.ImportRow, error) {
	serials := w.Serials
	if w.Filter != nil {
		f := *w.Filter
		f.Limit = store.MostDevices + 1
		var err error
		if serials, err = i.db.Serials(ctx, f); err != nil {
			return nil, err
		}
	}
	if len(serials) > store.MostDevices {
		return nil, provision.Errorf(TooManyDevices, "At most %d devices are taken at once; narrow the filter, or import a file.", store.MostDevices)
	}
	seen := make(map[string]bool, len(serials))
	rows := make([]store.ImportRow, 0, len(serials))
	for _, given := range serials {
		r := store.ImportRow{Serial: strings.TrimSpace(given), Verdict: store.VerdictOK}
		serial, err := provision.ParseSerial(given)
		if err == nil {
			r.Serial = serial
		} else {
			r.Verdict = store.VerdictError
			r.Problems = []store.RowProblem{{Code: string(provision.CodeOf(err)), Severity: store.VerdictError, Detail: err.Error()}}
		}
		if !seen[r.Serial] {
			seen[r.Serial] = true
			r.Line = int64(len(rows) + 1)
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, provision.Errorf(NoDevices, "No device is meant: the list is empty, or nothing fits the filter.")
	}
	return rows, nil
}

// fingerprint tells what was confirmed from anything else.
func fingerprint(n store.NewOperation) []byte {
	serials := make([]string, len(n.Rows))
	for i, r := range n.Rows {
		serials[i] = r.Serial
	}
	slices.Sort(serials)
	raw, _ := json.Marshal([]any{n.Kind, n.Request.Reason, n.Request.By, serials}) // texts always marshal
	sum := sha256.Sum256(raw)
	return sum[:]
}

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// askToConfirm says what would happen.
func (i *Intake) askToConfirm(ctx context.Context, n store.NewOperation) error {
	serials := make([]string, len(n.Rows))
	for at, r := range n.Rows {
		serials[at] = r.Serial
	}
	known, err := i.db.Standings(ctx, serials)
	if err != nil {
		return err
	}
	ask := &ConfirmationError{Secret: "cnf_" + rand.Text(), Devices: len(n.Rows), Consequences: consequences(n, known)}
	n.Confirmation.Hash = hashOf(ask.Secret)
	if ask.Expires, err = i.db.CreateConfirmation(ctx, *n.Confirmation, ConfirmationLasts); err != nil {
		return err
	}
	again := `send the request again with the token as "confirmation"`
	if n.Kind == store.OpRelease {
		again += ` and the number of devices as "count"`
	}
	devices := "1 device"
	if len(n.Rows) != 1 {
		devices = fmt.Sprintf("%d devices", len(n.Rows))
	}
	ask.Why = provision.Errorf(ConfirmationRequired, "This concerns %s. Look at the consequences; to go on, %s within %d minutes.", devices, again, int(ConfirmationLasts.Minutes()))
	return ask
}

func consequences(n store.NewOperation, known map[string]store.Standing) []Consequence {
	at := map[Consequence]int{}
	for _, r := range n.Rows {
		at[consequence(n, r, known)]++
	}
	list := make([]Consequence, 0, len(at))
	for c, devices := range at {
		c.Devices = devices
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Consequence) int {
		if a.Devices != b.Devices {
			return b.Devices - a.Devices
		}
		return strings.Compare(a.Status+a.Effect, b.Status+b.Effect)
	})
	return list
}

func consequence(n store.NewOperation, r store.ImportRow, known map[string]store.Standing) Consequence {
	if r.Verdict == store.VerdictError {
		return Consequence{Effect: "The serial number is none, so nothing is done.", Refused: provision.SerialInvalid}
	}
	s, ok := known[r.Serial]
	if !ok {
		return Consequence{Effect: "The device is not known, so nothing is done.", Refused: provision.DeviceNotFound}
	}
	d := s.Device
	c := Consequence{Status: strings.Join(d.Labels(), ", ")}
	facts, err := asked(n, d)
	switch {
	case err != nil:
		c.Effect, c.Refused = "It is refused, and nothing is done.", provision.CodeOf(err)
	case len(facts) == 0:
		c.Effect = "Nothing changes."
	default:
		c.Effect = effect(n, d)
	}
	return c
}

func asked(n store.NewOperation, d provision.Device) ([]provision.Fact, error) {
	switch n.Kind {
	case store.OpUnassign:
		return d.AskUnassign()
	case store.OpUnassignFromMDM:
		return d.AskUnassignFromMDM()
	case store.OpDeprovision:
		return d.AskDeprovision(n.Request.Reason, n.Request.By)
	case store.OpRelease:
		return d.AskRelease(n.Request.Reason)
	case store.OpWithdraw:
		return d.AskWithdraw()
	}
	return nil, fmt.Errorf("operation of kind %q", n.Kind)
}

// effect says in a sentence what happens to a device.
func effect(n store.NewOperation, d provision.Device) string {
	switch n.Kind {
	case store.OpUnassign:
		if d.Active() {
			return "User and groups are taken away, and what the groups brought is removed from the device; it stays managed."
		}
		return "User and groups are taken away; the device waits for another assignment."
	case store.OpUnassignFromMDM:
		if d.Active() {
			return "Apple Business Manager takes it off this MDM server; it stays managed until it is deprovisioned."
		}
		return "Apple Business Manager takes it off this MDM server; it can't enroll here any more."
	case store.OpRelease:
		if d.ABM.State == provision.ABMPresent {
			return "It leaves the organisation in Apple Business Manager for good. This can't be undone."
		}
		return "Muster lets go of it for good. This can't be undone."
	case store.OpWithdraw:
		return "Nobody knows it any more: user and groups are taken away, and it is listed no longer, unless it is assigned again or turns up."
	}
	what := "The management profile and all that it brought are removed from the device."
	if n.Request.By == provision.Erase {
		what = "The device is erased; what is on it is lost."
	}
	if n.Request.Reason != provision.ForRepair && (d.Assignment != nil || d.Planned != nil) {
		what += " User and groups are taken away."
	}
	return what
}
