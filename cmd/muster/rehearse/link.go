package rehearse

import (
	"bytes"
	"context"
	"net/http"
	"slices"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/sim/abm"
)

// Link says how Muster is linked with an organisation's Apple Business Manager.
type Link struct {
	// Server is the name that Muster gives the link.
	Server string
	// Profiles are the device profiles to make, by name, with Apple's fields; Default is the server's.
	Profiles map[string]map[string]any
	Default  string
	// ByUser are those of the Profiles by which somebody signs in on the device.
	ByUser []string
	// AutoAssign: who signs in on a device is its user.
	AutoAssign bool
	// Business gives Muster an account of the Business API, too.
	Business bool
	// PortalServer is the MDM server in the portal; "" = that of the same name, which is made when there is none.
	PortalServer string
	// Force replaces a link with another MDM server.
	Force bool
}

// Link does what an administrator does with Muster and Apple's portal side by side: make device profiles and a server, take
// its certificate to the portal and the token back. Done again, it goes on with the portal's server that there is. It
// returns that server's id.
func (c *Customer) Link(ctx context.Context, portal *abm.Organization, l Link) (serverID string, err error) {
	for name, fields := range l.Profiles {
		if err := c.putDeviceProfile(ctx, name, fields, slices.Contains(l.ByUser, name)); err != nil {
			return "", err
		}
	}
	_, err = do(ctx, c, "making the ABM server "+l.Server, func(ctx context.Context, key *string) (*client.PutAbmServerResponse, error) {
		return c.api.PutAbmServerWithResponse(ctx, l.Server, &client.PutAbmServerParams{IdempotencyKey: key}, client.AbmServerInput{DefaultProfile: &l.Default, AutoAssignUsers: &l.AutoAssign})
	})
	if err != nil {
		return "", err
	}
	if serverID = l.PortalServer; serverID == "" {
		serverID = portalServer(portal, l.Server)
	}
	if err := c.exchangeToken(ctx, portal, l, serverID); err != nil || !l.Business {
		return serverID, err
	}
	return serverID, c.giveAccount(ctx, portal, l.Server)
}

// portalServer is the MDM server in the portal of a name, which is made when there is none.
func portalServer(portal *abm.Organization, name string) string {
	for _, s := range portal.Servers() {
		if s.Name == name {
			return s.ID
		}
	}
	return portal.AddServer(abm.Server{Name: name}).ID
}

func (c *Customer) putDeviceProfile(ctx context.Context, name string, fields map[string]any, byUser bool) error {
	mode := client.ByAdmin
	if byUser {
		mode = client.ByUser
	}
	_, err := do(ctx, c, "making the device profile "+name, func(ctx context.Context, key *string) (*client.PutDeviceProfileResponse, error) {
		return c.api.PutDeviceProfileWithResponse(ctx, name, &client.PutDeviceProfileParams{IdempotencyKey: key}, client.DeviceProfileInput{ActivationMode: &mode, Fields: fields})
	})
	return err
}

// exchangeToken takes the certificate to the portal and the token back.
func (c *Customer) exchangeToken(ctx context.Context, portal *abm.Organization, l Link, serverID string) error {
	server := l.Server
	certificate, err := do(ctx, c, "downloading the certificate of "+server, func(ctx context.Context, _ *string) (*client.GetAbmServerCertificateResponse, error) {
		return c.api.GetAbmServerCertificateWithResponse(ctx, server)
	})
	if err != nil {
		return err
	}
	token, err := portal.IssueToken(serverID, certificate.GetBody())
	if err != nil {
		return err
	}
	_, err = do(ctx, c, "linking "+server, func(ctx context.Context, key *string) (*client.PutAbmServerTokenResponse, error) {
		return c.api.PutAbmServerTokenWithBodyWithResponse(ctx, server, &client.PutAbmServerTokenParams{IdempotencyKey: key, Force: &l.Force}, "application/pkcs7-mime", bytes.NewReader(token))
	})
	return err
}

func (c *Customer) giveAccount(ctx context.Context, portal *abm.Organization, server string) error {
	account, err := portal.AddAccount(false)
	if err != nil {
		return err
	}
	_, err = do(ctx, c, "giving "+server+" an account", func(ctx context.Context, key *string) (*client.PutAbmServerBusinessAccountResponse, error) {
		return c.api.PutAbmServerBusinessAccountWithResponse(ctx, server, &client.PutAbmServerBusinessAccountParams{IdempotencyKey: key},
			client.AbmBusinessAccountInput{ClientId: account.ClientID, KeyId: account.KeyID, PrivateKey: string(account.PrivateKeyPEM)})
	})
	return err
}

// Sync has an ABM server synced now instead of at its next time.
func (c *Customer) Sync(ctx context.Context, server string) error {
	_, err := do(ctx, c, "syncing "+server, func(ctx context.Context, key *string) (*client.SyncAbmServerResponse, error) {
		return c.api.SyncAbmServerWithResponse(ctx, server, &client.SyncAbmServerParams{IdempotencyKey: key})
	})
	return err
}

// ChooseDeviceProfile has one device set up by a profile of its own.
func (c *Customer) ChooseDeviceProfile(ctx context.Context, serial, profile string) error {
	_, err := do(ctx, c, "choosing the device profile of "+serial, func(ctx context.Context, key *string) (*client.PutDeviceDeviceProfileResponse, error) {
		return c.api.PutDeviceDeviceProfileWithResponse(ctx, serial, &client.PutDeviceDeviceProfileParams{IdempotencyKey: key},
			client.DeviceProfileChoice{Name: profile})
	})
	return err
}

// UnassignFromMDM has a device taken off its MDM server in Apple Business Manager.
func (c *Customer) UnassignFromMDM(ctx context.Context, serial string) error {
	_, err := do(ctx, c, "taking "+serial+" off its server", func(ctx context.Context, key *string) (*client.UnassignDeviceFromMdmResponse, error) {
		return c.api.UnassignDeviceFromMdmWithResponse(ctx, serial, &client.UnassignDeviceFromMdmParams{IdempotencyKey: key})
	})
	return err
}

// Known reports whether Muster knows a device.
func (c *Customer) Known(ctx context.Context, serial string) (bool, error) {
	a, err := c.api.GetDeviceWithResponse(ctx, serial)
	if err != nil {
		return false, err
	}
	return a.StatusCode() == http.StatusOK, nil
}
