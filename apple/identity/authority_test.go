package identity_test

import (
	"context"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
)

func TestAuthorityOutlivesTheProcess(t *testing.T) {
	s := &shelf{}
	one, err := identity.LoadAuthority(t.Context(), s, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(t, err)
	two, err := identity.LoadAuthority(t.Context(), s, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(t, err)
	require.True(t, one.Certificate().Equal(two.Certificate()))
	der, err := one.Issue(serial, key(t).Public())
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.NoError(t, two.Verify(cert))

	secret, err := one.Secret("document links")
	require.NoError(t, err)
	same, err := two.Secret("document links")
	require.NoError(t, err)
	require.Equal(t, secret, same)
	other, err := one.Secret("another purpose")
	require.NoError(t, err)
	require.NotEqual(t, secret, other)
	require.Len(t, secret, 32)
}

func TestAuthorityKnowsItsOwnOnly(t *testing.T) {
	a := newAuthority(t)
	other, err := identity.LoadAuthority(t.Context(), &shelf{}, identity.AuthorityConfig{KeyBits: 2048, Organization: "Zylker"})
	require.NoError(t, err)
	der, err := other.Issue(serial, key(t).Public())
	require.NoError(t, err)
	foreign, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Error(t, a.Verify(foreign), "of the same name, but another key")
	require.Error(t, a.Verify(a.Certificate()), "the authority is not a client")
}

func TestCertificateOutlivesNeitherItsTimeNorTheAuthority(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct{ lifetime, validity, want time.Duration }{
		"its time":                         {1000 * time.Hour, 48 * time.Hour, 48 * time.Hour},
		"the authority":                    {10 * time.Hour, 48 * time.Hour, 10 * time.Hour},
		"two years, unless told otherwise": {0, 0, 2 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := identity.LoadAuthority(t.Context(), &shelf{}, identity.AuthorityConfig{
				KeyBits: 2048, Lifetime: tt.lifetime, Validity: tt.validity, Now: func() time.Time { return now },
			})
			require.NoError(t, err)
			der, err := a.Issue(serial, key(t).Public())
			require.NoError(t, err)
			cert, err := x509.ParseCertificate(der)
			require.NoError(t, err)
			require.Equal(t, now.Add(tt.want), cert.NotAfter)
			require.True(t, cert.NotBefore.Before(now))
			require.NoError(t, a.Verify(cert), "whether it is still valid is asked elsewhere")
		})
	}
}

func TestAuthorityRefusesAWeakOrForeignKey(t *testing.T) {
	_, err := identity.LoadAuthority(t.Context(), &shelf{}, identity.AuthorityConfig{KeyBits: 1024})
	require.Error(t, err)
	s := &shelf{}
	_, _, err = s.Authority(t.Context(), func() ([]byte, []byte, error) { return []byte("x"), []byte("y"), nil })
	require.NoError(t, err)
	_, err = identity.LoadAuthority(context.Background(), s, identity.AuthorityConfig{})
	require.Error(t, err)
}
