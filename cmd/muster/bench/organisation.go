package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/sim/abm"
)

// listPath is where devices are listed; nothing else goes wrong, so that both halves meet the same faults.
const listPath = "/server/devices"

// faults are what goes wrong with requests for a page, and with pages.
var faults = []abm.Fault{
	{Kind: abm.FaultError, Share: 0.02, Path: listPath},
	{Kind: abm.FaultTooMany, Share: 0.02, Path: listPath, Seconds: 1},
	{Kind: abm.FaultGarbage, Share: 0.01, Path: listPath},
	{Kind: abm.FaultTruncated, Share: 0.01, Path: listPath},
	{Kind: abm.FaultReset, Share: 0.01, Path: listPath},
	{Kind: abm.FaultRepeat, Share: 0.1, Path: listPath},
	{Kind: abm.FaultDisorder, Share: 0.1, Path: listPath},
	{Kind: abm.FaultSameCursor, Share: 0.02, Path: listPath},
}

// organisation is a virtual Apple Business Manager with one server that has all devices: the same one whenever it is opened.
type organisation struct {
	apple            *abm.Organization
	at               *abm.Listener
	serials          []string // sorted
	certificate, key []byte
	token            dep.Token
}

func openOrganisation(ctx context.Context, devices int) (*organisation, error) {
	const seed = 23 // by it a full run meets faults of every kind, and a quick one some
	o := &organisation{apple: abm.New(abm.Config{Seed: seed})}
	server := o.apple.AddServer(abm.Server{Name: listedServer})
	var err error
	if o.serials, err = o.apple.AddNew(server.ID, devices); err != nil {
		return nil, fmt.Errorf("filling the organisation: %w", err)
	}
	slices.Sort(o.serials)
	if o.certificate, o.key, err = dep.NewKeyPair("Bench", time.Now()); err != nil {
		return nil, err
	}
	file, err := o.apple.IssueToken(server.ID, o.certificate)
	if err != nil {
		return nil, fmt.Errorf("downloading the server token: %w", err)
	}
	if o.token, err = dep.OpenToken(file, o.certificate, o.key); err != nil {
		return nil, err
	}
	o.apple.SetFaults(faults...)
	o.at, err = o.apple.Listen(context.WithoutCancel(ctx), "127.0.0.1:0")
	return o, err
}

func (o *organisation) close() { _ = o.at.Close() }
