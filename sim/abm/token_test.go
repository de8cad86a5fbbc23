package abm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

func TestTokenFileIsOpenedByItsKeyOnly(t *testing.T) {
	p := open(t, abm.Config{})
	token := p.download(p.server.ID)
	require.WithinDuration(t, time.Now().AddDate(1, 0, 0), token.AccessTokenExpiry, 48*time.Hour)

	file, err := p.IssueToken(p.server.ID, oneKeyPair().pem)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(file, []byte("Content-Type: application/pkcs7-mime")))
	otherKey, otherCert, err := tokenpki.SelfSignedRSAKeypair("someone else", 1)
	require.NoError(t, err)
	opened, err := tokenpki.DecryptTokenJSON(file, otherCert, otherKey)
	require.False(t, err == nil && bytes.Contains(opened, []byte("consumer_key")), "a foreign key opened the token")
}

func TestANewTokenKeepsTheConsumerAndReplacesTheOld(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	d.fetch()
	old, renewed := d.tokens.get(), p.download(p.server.ID)
	require.Equal(t, old.ConsumerKey, renewed.ConsumerKey)
	require.NotEqual(t, old.AccessToken, renewed.AccessToken)
	_, err := d.FetchDevices(t.Context(), name)
	requireRefused(t, err, 401, "signature_invalid")
	d.tokens.set(renewed)
	d.fetch()

	require.NoError(t, p.RenewConsumer(p.server.ID))
	require.NotEqual(t, old.ConsumerKey, p.download(p.server.ID).ConsumerKey)
}

func TestTokenNeedsAServerAndARealCertificate(t *testing.T) {
	p := open(t, abm.Config{})
	_, err := p.IssueToken("nobody", oneKeyPair().pem)
	require.ErrorIs(t, err, abm.ErrUnknownServer)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	elliptical, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	for _, upload := range [][]byte{
		nil, []byte("hello"),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: oneKeyPair().cert.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: elliptical}),
	} {
		_, err := p.IssueToken(p.server.ID, upload)
		require.ErrorIs(t, err, abm.ErrNotACertificate)
	}
}
