package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

const (
	profileMedia  = "application/x-apple-aspen-config"
	machineMedia  = "application/pkcs7-signature"
	updateNeeded  = "com.apple.softwareupdate.required"
	maxProfile    = 4 << 20
	mostUpdates   = 3
	updateSubject = "software update"
)

// PowerOn switches on a device that isn't enrolled: it asks Apple whether it is managed, gets its enrollment profile where it
// is told to, and enrolls. If the server wants a newer operating system, the device updates itself and begins anew. Outages
// are sat out as long as ctx lasts. A refusal is an *HTTPError, ErrUnrecognized or ErrUpdate; ErrUnmanaged says that nobody
// manages the device.
func (d *Device) PowerOn(ctx context.Context, source ActivationSource) error {
	for updates := 0; ; updates++ {
		mobileconfig, as, err := d.activate(ctx, source)
		var wanted *updateError
		switch {
		case errors.As(err, &wanted) && updates < mostUpdates:
			if err := d.update(ctx, wanted.version); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if err := d.prepareAs(ctx, mobileconfig, as); err != nil {
			return err
		}
		if err := d.Authenticate(ctx); err != nil {
			return err
		}
		return d.TokenUpdate(ctx)
	}
}

// activate gets the enrollment profile, and how the device is set up by it.
func (d *Device) activate(ctx context.Context, source ActivationSource) ([]byte, setup, error) {
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, setup{}, err
	}
	defer release()
	boot, err := d.unenrolled()
	if err != nil {
		return nil, setup{}, err
	}
	var a Activation
	managed := false
	err = d.persist(ctx, boot, "activation", func(context.Context) error {
		a, managed = source.Activate(d.cfg.Serial)
		return nil
	})
	switch {
	case err != nil:
		return nil, setup{}, err
	case !managed:
		return nil, setup{}, ErrUnmanaged
	}
	get := d.fetchProfile
	if a.WebURL != "" {
		get = d.browse
	}
	mobileconfig, err := get(ctx, boot, a)
	return mobileconfig, setup{automated: true, supervised: a.Supervised, await: a.Await}, err
}

// fetchProfile posts the MachineInfo, signed anew each time.
func (d *Device) fetchProfile(ctx context.Context, boot int, a Activation) ([]byte, error) {
	trusting, err := d.cfg.trusting(a.Anchors)
	if err != nil {
		return nil, err
	}
	client, err := trusting.client(a.URL, nil)
	if err != nil {
		return nil, err
	}
	if client.Transport != d.cfg.Client.Transport {
		defer client.CloseIdleConnections()
	}
	var profile []byte
	err = d.persist(ctx, boot, "MachineInfo", func(ctx context.Context) error {
		body, err := d.MachineInfo()
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("making request for MachineInfo: %w", err)
		}
		r.Header.Set("Content-Type", machineMedia)
		r.Header.Set("User-Agent", "Setup Assistant")
		resp, err := client.Do(r)
		if err != nil {
			return fmt.Errorf("asking for the enrollment profile: %w", err)
		}
		defer func() { _ = resp.Body.Close() }() // read to its end below
		profile, err = d.readProfile(resp)
		return err
	})
	return profile, err
}

// readProfile reads what a server answers to a device that wants its profile.
func (d *Device) readProfile(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProfile))
	if err != nil {
		return nil, fmt.Errorf("reading the enrollment profile: %w", err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusForbidden:
		return nil, d.forbidden(body)
	case resp.StatusCode != http.StatusOK:
		return nil, &HTTPError{Message: "MachineInfo", Status: resp.StatusCode, Body: beginning(body)}
	case media != profileMedia:
		return nil, fmt.Errorf("the server answered with %q instead of an enrollment profile", media)
	}
	return body, nil
}

// updateError is the version that a server requires.
type updateError struct{ version string }

func (e *updateError) Error() string { return "the server requires version " + e.version }

// forbidden reads the reason for a 403, in JSON or as a property list.
func (d *Device) forbidden(body []byte) error {
	var reason struct {
		Code    string `json:"code"`
		Details struct{ OSVersion string }
	}
	if json.Unmarshal(body, &reason) != nil {
		if p, err := decode(body); err == nil {
			reason.Code, reason.Details.OSVersion = text(p, "code"), text(child(p, "details"), "OSVersion")
		}
	}
	switch {
	case reason.Code == unrecognizedDevice:
		return fmt.Errorf("%w: %s", ErrUnrecognized, beginning(body))
	case reason.Code == updateNeeded && reason.Details.OSVersion != "":
		return &updateError{reason.Details.OSVersion}
	}
	return &HTTPError{Message: "MachineInfo", Status: http.StatusForbidden, Body: beginning(body)}
}

// update installs a version of the operating system, which restarts the device.
func (d *Device) update(ctx context.Context, version string) error {
	d.mu.Lock()
	boot, have := d.state.boot, d.state.system.version
	pause := d.cfg.Faults.Update.pick(d.chance.of(updateSubject, version))
	can := d.canUpdate() && older(have, version)
	d.mu.Unlock()
	if !can {
		return fmt.Errorf("%w: it has %s and %s is wanted", ErrUpdate, have, version)
	}
	if pause > 0 {
		if err := d.wait(ctx, boot, pause); err != nil {
			return err
		}
	}
	d.mu.Lock()
	if d.state.boot != boot {
		d.mu.Unlock()
		return ErrRestarted
	}
	d.state.system = system{version: version, build: buildOf(version)}
	d.mu.Unlock()
	d.Reboot()
	return nil
}

// system is the operating system; erasing the device keeps it.
type system struct{ version, build string }

// buildOf makes up a build in Apple's form.
func buildOf(version string) string {
	const darwin = 4 // 18.1 is 22…
	b := chance{}.bytes("build", version)
	return fmt.Sprintf("%d%c%d", darwin+part(strings.Split(version, "."), 0), 'A'+rune(b[0]%8), 100+int(b[1]))
}

// persist repeats what a network or a server in trouble made fail; a refusal ends it. Requests and answers may get lost.
func (d *Device) persist(ctx context.Context, boot int, subject string, try func(context.Context) error) error {
	for pause := d.cfg.Backoff.Min; ; pause = min(2*pause, max(d.cfg.Backoff.Max, d.cfg.Backoff.Min)) {
		err := d.attemptOnce(ctx, boot, subject, try)
		if err == nil || !transient(err) {
			return err
		}
		if err := d.wait(ctx, boot, pause); err != nil {
			return err
		}
	}
}

func (d *Device) attemptOnce(ctx context.Context, boot int, subject string, try func(context.Context) error) error {
	ctx, done, err := d.connected(ctx, boot)
	if err != nil {
		return err
	}
	defer done()
	if d.strikes("lose-request", subject, d.cfg.Faults.LoseRequest) {
		return errLost
	}
	if err := try(ctx); err != nil {
		return err
	}
	if d.strikes("lose-answer", subject, d.cfg.Faults.LoseAnswer) {
		return errLost
	}
	return nil
}
