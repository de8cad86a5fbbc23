package identity_test

import (
	"crypto/x509"
	"testing"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

type dict = map[string]any

func profile() identity.Profile {
	return identity.Profile{
		Organization: "Zylker", ServerURL: "https://mdm.example.com/mdm", CheckInURL: "https://mdm.example.com/mdm",
		SCEPURL: "https://mdm.example.com/scep", Topic: "com.apple.mgmt.External.1", Serial: serial, Challenge: "open sesame",
	}
}

func decode(t *testing.T, raw []byte) dict {
	t.Helper()
	var d dict
	require.NoError(t, plist.Unmarshal(raw, &d))
	return d
}

func TestProfileHoldsWhatADeviceNeeds(t *testing.T) {
	p := profile()
	p.Roots = []*x509.Certificate{newAuthority(t).Certificate()}
	raw, err := p.Encode()
	require.NoError(t, err)
	if schema, ok := schemaflag.Schema(t); ok {
		require.Empty(t, schema.CheckProfile(raw))
	}
	top := decode(t, raw)
	require.Equal(t, identity.DefaultProfileIdentifier, top["PayloadIdentifier"])
	require.Equal(t, "Configuration", top["PayloadType"])
	require.Equal(t, "Zylker", top["PayloadOrganization"])
	payloads := map[string]dict{}
	for _, payload := range top["PayloadContent"].([]any) {
		d := payload.(dict)
		payloads[d["PayloadType"].(string)] = d
	}
	require.Len(t, payloads, 3)

	scep := payloads["com.apple.security.scep"]
	content := scep["PayloadContent"].(dict)
	require.Equal(t, "https://mdm.example.com/scep", content["URL"])
	require.Equal(t, "open sesame", content["Challenge"])
	require.Equal(t, uint64(2048), content["Keysize"])
	require.Equal(t, uint64(5), content["Key Usage"])
	require.Equal(t, []any{[]any{[]any{"CN", serial}}}, content["Subject"])

	mdm := payloads["com.apple.mdm"]
	require.Equal(t, scep["PayloadUUID"], mdm["IdentityCertificateUUID"])
	require.Equal(t, "https://mdm.example.com/mdm", mdm["ServerURL"])
	require.Equal(t, "com.apple.mgmt.External.1", mdm["Topic"])
	require.Equal(t, true, mdm["SignMessage"])
	require.Equal(t, true, mdm["CheckOutWhenRemoved"])
	require.Equal(t, uint64(identity.AllRights), mdm["AccessRights"])
	require.Equal(t, p.Roots[0].Raw, payloads["com.apple.security.root"]["PayloadContent"])
}

func TestProfileOfADeviceIsAlwaysTheSame(t *testing.T) {
	one, err := profile().Encode()
	require.NoError(t, err)
	again, err := profile().Encode()
	require.NoError(t, err)
	require.Equal(t, one, again)
	p := profile()
	p.Serial = "C07Q853LG9RX"
	other, err := p.Encode()
	require.NoError(t, err)
	require.NotEqual(t, decode(t, one)["PayloadUUID"], decode(t, other)["PayloadUUID"])
	require.Equal(t, decode(t, one)["PayloadIdentifier"], decode(t, other)["PayloadIdentifier"])
}

func TestProfileCanBeSigned(t *testing.T) {
	a := newAuthority(t)
	der, err := a.Issue("SIGNER", key(t).Public())
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	p := profile()
	plain, err := p.Encode()
	require.NoError(t, err)
	p.Signer = &identity.Signer{Certificate: cert, Chain: []*x509.Certificate{a.Certificate()}, Key: key(t)}
	raw, err := p.Encode()
	require.NoError(t, err)
	signed, err := pkcs7.Parse(raw)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	require.NoError(t, signed.VerifyWithChain(roots))
	require.Equal(t, plain, signed.Content)
}

func TestProfileThatCouldNotEnrollIsNotWritten(t *testing.T) {
	for name, spoil := range map[string]func(*identity.Profile){
		"server":    func(p *identity.Profile) { p.ServerURL = "" },
		"scep":      func(p *identity.Profile) { p.SCEPURL = "" },
		"topic":     func(p *identity.Profile) { p.Topic = "" },
		"serial":    func(p *identity.Profile) { p.Serial = "" },
		"challenge": func(p *identity.Profile) { p.Challenge = "" },
	} {
		p := profile()
		spoil(&p)
		_, err := p.Encode()
		require.Error(t, err, name)
	}
}
