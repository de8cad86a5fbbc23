package enroll_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const serial = "C07Q853LG9RM"

// devices knows one device and keeps its last challenge.
type devices struct {
	device provision.Device
	hash   identity.ChallengeHash
	valid  time.Duration
	err    error
	// renewal is the last one.
	renewal store.Renewal
}

func (d *devices) Device(_ context.Context, serial string) (provision.Device, error) {
	if serial != d.device.Serial {
		return provision.Device{}, provision.Errorf(provision.DeviceNotFound, "unknown")
	}
	return d.device, nil
}

func (d *devices) AddChallenge(_ context.Context, _ string, c identity.ChallengeHash, valid time.Duration) error {
	d.hash, d.valid = c, valid
	return d.err
}

func (d *devices) Redeem(context.Context, identity.ChallengeHash, identity.KeyHash, func(string) ([]byte, error)) ([]byte, error) {
	return nil, errors.New("profiles redeem nothing")
}

func (d *devices) Renew(_ context.Context, serial string, compose func(int) (store.Renewal, error)) (bool, error) {
	r, err := compose(d.device.Activation.Epoch)
	d.renewal = r
	return serial == d.device.Serial, errors.Join(err, d.err)
}

type topics string

func (t topics) Topic(context.Context) (string, error) { return string(t), nil }

func config() enroll.Config {
	return enroll.Config{ServerURL: "https://mdm.example.com/mdm", SCEPURL: "https://mdm.example.com/scep", Organization: "Zylker"}
}

func TestProfileCarriesTheChallengeThatIsKept(t *testing.T) {
	d := &devices{device: provision.Device{Serial: serial}}
	c := config()
	c.Identifier, c.ChallengeValidity = "com.zylker.enrollment", 3*time.Hour
	e, err := enroll.New(d, topics("com.apple.mgmt.External.1"), c)
	require.NoError(t, err)
	raw, err := e.EnrollmentProfile(t.Context(), "c07q853lg9rm")
	require.NoError(t, err)
	var profile struct {
		PayloadIdentifier string
		PayloadContent    []struct {
			PayloadContent struct{ Challenge string }
		}
	}
	require.NoError(t, plist.Unmarshal(raw, &profile))
	require.Equal(t, e.Identifier(), profile.PayloadIdentifier)
	require.Equal(t, d.hash, sha256.Sum256([]byte(profile.PayloadContent[0].PayloadContent.Challenge)))
	require.Equal(t, 3*time.Hour, d.valid)

	again, err := e.EnrollmentProfile(t.Context(), serial)
	require.NoError(t, err)
	require.NotEqual(t, raw, again, "each profile has a challenge of its own")
}

func TestNoProfileWithoutChallenge(t *testing.T) {
	d := &devices{device: provision.Device{Serial: serial}, err: errors.New("the database is away")}
	e, err := enroll.New(d, topics("com.apple.mgmt.External.1"), config())
	require.NoError(t, err)
	_, err = e.EnrollmentProfile(t.Context(), serial)
	require.ErrorIs(t, err, d.err)
	require.Equal(t, identity.DefaultProfileIdentifier, e.Identifier())
}

func TestAddressesAreChecked(t *testing.T) {
	for _, address := range []string{"", "mdm.example.com", "ftp://mdm.example.com", "https://", "https://a b"} {
		c := config()
		c.SCEPURL = address
		_, err := enroll.New(&devices{}, topics(""), c)
		require.Error(t, err, address)
	}
}
