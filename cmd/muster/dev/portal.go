package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store/keyring"
)

// The names of the demonstration's link with Apple Business Manager.
const (
	linkName       = "zylker"
	profileName    = "standard"
	profileAwaited = "held-in-setup"
)

// link is how Muster is linked; assigns says that who signs in on a device is its user.
func link(assigns bool) rehearse.Link {
	fields := func(await bool) map[string]any {
		return map[string]any{
			"is_supervised": true, "is_mdm_removable": false, "is_mandatory": true, "await_device_configured": await,
			"department": "Zylker IT", "support_phone_number": "+1 555 0100", "skip_setup_items": []string{"AppleID", "Siri", "Diagnostics"},
		}
	}
	return rehearse.Link{
		Server: linkName, Default: profileName, Business: true,
		Profiles: map[string]map[string]any{profileName: fields(false), profileAwaited: fields(true), profileSignIn: fields(false)},
		ByUser:   []string{profileSignIn}, AutoAssign: assigns,
	}
}

// startPortal starts the virtual Apple Business Manager where the last run left it. One of another database's time begins
// anew with it: what Muster doesn't remember, Apple must not.
func (st *stack) startPortal(ctx context.Context, seed uint64) error {
	config := abm.Config{Seed: seed, Name: "Zylker", Domain: "zylker.com", AdminID: "admin@zylker.com", Lifetime: abm.Lifetimes{Activity: 5 * time.Second}}
	kept, err := os.ReadFile(st.path("portal.json"))
	mark, _ := os.ReadFile(st.path("portal.of"))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && strings.TrimSpace(string(mark)) != st.fingerprint():
		st.portal = abm.New(config)
	case err != nil:
		return fmt.Errorf("reading the kept Apple Business Manager: %w", err)
	default:
		if st.portal, err = abm.Load(config, bytes.NewReader(kept)); err != nil {
			return fmt.Errorf("reading the kept Apple Business Manager (remove %s to begin anew): %w", st.path("portal.json"), err)
		}
	}
	if st.factory, err = sim.NewFactory(); err != nil {
		return err
	}
	if err := os.WriteFile(st.path("enroll-anchors.pem"), st.factory.AnchorsPEM(), 0o600); err != nil {
		return fmt.Errorf("keeping the virtual devices' authority: %w", err)
	}
	if st.portalAt, err = st.portal.Listen(context.WithoutCancel(ctx), "127.0.0.1:0"); err != nil {
		return fmt.Errorf("starting the virtual Apple Business Manager: %w", err)
	}
	return nil
}

// keepPortal writes the virtual Apple Business Manager down.
func (st *stack) keepPortal() error {
	var out bytes.Buffer
	if err := st.portal.Save(&out); err != nil {
		return fmt.Errorf("keeping the virtual Apple Business Manager: %w", err)
	}
	if err := writeWhole(st.path("portal.of"), []byte(st.fingerprint()+"\n")); err != nil {
		return fmt.Errorf("keeping the virtual Apple Business Manager: %w", err)
	}
	if err := writeWhole(st.path("portal.json"), out.Bytes()); err != nil {
		return fmt.Errorf("keeping the virtual Apple Business Manager: %w", err)
	}
	return nil
}

// keepKeyring returns the keyring of the last run, or a new one.
func (st *stack) keepKeyring() (string, error) {
	kept, err := os.ReadFile(st.path("keyring"))
	if err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the kept keyring: %w", err)
	}
	key := keyring.NewKey()
	if err := os.WriteFile(st.path("keyring"), []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the keyring: %w", err)
	}
	return key, nil
}

// stock has the organisation buy the devices that it doesn't have yet, and reports whether there were any.
func (d *demo) stock(serverID string) (bought bool, err error) {
	for i, dev := range d.fleet.Devices() {
		if _, there := d.portal.Device(dev.Serial()); there {
			continue
		}
		var c sim.Config
		model(i, &c)
		spec := abm.Spec{Serial: dev.Serial(), Family: c.ModelName, ProductType: c.ProductName, PartNumber: c.Model}
		if err := d.portal.Add(serverID, spec); err != nil {
			return bought, err
		}
		bought = true
	}
	return bought, nil
}

// stockMore has the organisation buy what a run with more devices than the last has more, and Muster look at once.
func (d *demo) stockMore(ctx context.Context, serverID string) error {
	bought, err := d.stock(serverID)
	if err != nil || !bought {
		return err
	}
	res, err := d.api.SyncAbmServerWithResponse(ctx, linkName, nil)
	if err != nil {
		return fmt.Errorf("asking for a sync: %w", err)
	}
	if res.StatusCode() >= http.StatusBadRequest {
		return fmt.Errorf("asking for a sync: %s", res.Body)
	}
	return nil
}

// linkOnce links Muster with the portal, whose devices are there already, as for a customer who begins with Muster.
func (d *demo) linkOnce(ctx context.Context, customer *rehearse.Customer, directory bool) error {
	res, err := d.api.GetAbmServerWithResponse(ctx, linkName)
	if err != nil {
		return fmt.Errorf("looking for the link: %w", err)
	}
	linked := res.JSON200 != nil && res.JSON200.LinkedAt != nil
	if servers := d.portal.Servers(); linked && len(servers) > 0 {
		d.signIn = directory && res.JSON200.AutoAssignUsers
		return d.stockMore(ctx, servers[0].ID)
	}
	d.signIn = directory
	server := d.portal.AddServer(abm.Server{Name: "Muster", Disown: true})
	if _, err := d.stock(server.ID); err != nil {
		return err
	}
	l := link(directory)
	l.PortalServer, l.Force = server.ID, linked // a portal that was lost begins anew
	if _, err := customer.Link(ctx, d.portal, l); err != nil {
		return err
	}
	return nil
}

// listed waits until Muster knows from Apple Business Manager that the device is the organisation's.
func (d *demo) listed(ctx context.Context, serial string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		res, err := d.api.GetDeviceWithResponse(ctx, serial)
		if err == nil && res.JSON200 != nil && res.JSON200.Server != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lookEvery is how often it is looked whether a sync has brought a device.
const lookEvery = 200 * time.Millisecond

// assigned waits until Apple would tell the device where to enroll: nobody unpacks it before, or it would set itself up
// unmanaged.
func (d *demo) assigned(ctx context.Context, i int, serial string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		signsIn := d.keeper.record(serial).SignsIn
		if p, there := d.portal.ProfileFor(serial); there && p.Await == (awaits(i) && !signsIn) && (p.WebURL != "") == signsIn && strings.HasPrefix(p.URL, d.url) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// choose gives the device a device profile of its own.
func (d *demo) choose(ctx context.Context, serial, profile string) error {
	res, err := d.api.PutDeviceDeviceProfileWithResponse(ctx, serial, nil, client.DeviceProfileChoice{Name: profile})
	if err != nil {
		return fmt.Errorf("choosing a device profile: %w", err)
	}
	return wanted("choosing a device profile", res.StatusCode(), res.Body, http.StatusOK)
}
