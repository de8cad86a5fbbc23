package store_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const serial = "C07Q853LG9RM"

// register makes a device known.
func register(t *testing.T, db *store.DB, serial string) {
	t.Helper()
	change(t, db, serial, provision.Fact{Kind: provision.Registered})
}

func change(t *testing.T, db *store.DB, serial string, facts ...provision.Fact) provision.Device {
	t.Helper()
	d, err := db.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return d
}

// certify stands for an authority: it counts what it was asked to sign.
type certify struct {
	t     *testing.T
	asked atomic.Int64
}

func (c *certify) issue(string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + c.asked.Add(1)), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	return x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
}

func challengeOf(word string) [32]byte { return sha256.Sum256([]byte(word)) }

func TestAuthorityIsCreatedOnceByMany(t *testing.T) {
	db := open(t)
	var created atomic.Int64
	create := func() ([]byte, []byte, error) {
		n := byte(created.Add(1))
		return []byte{n}, []byte{n, n}, nil
	}
	var together sync.WaitGroup
	for range 12 {
		together.Go(func() {
			cert, key, err := db.Authority(t.Context(), create)
			if err != nil || len(cert) != 1 || len(key) != 2 || cert[0] != 1 {
				t.Errorf("got %v %v %v", cert, key, err)
			}
		})
	}
	together.Wait()
	require.Equal(t, int64(1), created.Load())
}

func TestAuthorityThatCannotBeMadeIsMadeLater(t *testing.T) {
	db := open(t)
	broken := errors.New("no randomness left")
	_, _, err := db.Authority(t.Context(), func() ([]byte, []byte, error) { return nil, nil, broken })
	require.ErrorIs(t, err, broken)
	cert, _, err := db.Authority(t.Context(), func() ([]byte, []byte, error) { return []byte{7}, []byte{8}, nil })
	require.NoError(t, err)
	require.Equal(t, []byte{7}, cert)
}

func TestChallengeIsGoodForOneKey(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("open sesame"), time.Hour))
	first, err := db.Redeem(t.Context(), challengeOf("open sesame"), challengeOf("key 1"), ca.issue)
	require.NoError(t, err)

	again, err := db.Redeem(t.Context(), challengeOf("open sesame"), challengeOf("key 1"), ca.issue)
	require.NoError(t, err, "the answer was lost")
	require.Equal(t, first, again)
	require.Equal(t, int64(1), ca.asked.Load())

	_, err = db.Redeem(t.Context(), challengeOf("open sesame"), challengeOf("key 2"), ca.issue)
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(err))
	_, err = db.Redeem(t.Context(), challengeOf("another"), challengeOf("key 1"), ca.issue)
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(err))
	require.Equal(t, int64(1), ca.asked.Load(), "nothing is signed for a challenge that is refused")

	id, err := db.Identity(t.Context(), store.IdentityHash(first))
	require.NoError(t, err)
	require.Equal(t, serial, id.Serial)
	require.False(t, id.Revoked)
}

func TestChallengeRacedByTwoKeysIsGoodForOne(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("race"), time.Hour))
	var won atomic.Int64
	var together sync.WaitGroup
	for i := range 8 {
		together.Go(func() {
			_, err := db.Redeem(t.Context(), challengeOf("race"), challengeOf(string(rune('a'+i))), ca.issue)
			if err == nil {
				won.Add(1)
			} else if provision.CodeOf(err) != provision.ChallengeRefused {
				t.Error(err)
			}
		})
	}
	together.Wait()
	require.Equal(t, int64(1), won.Load())
}

func TestChallengeExpires(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	db, ca := open(t, store.WithClock(func() time.Time { return now })), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("old"), time.Hour))
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("used"), time.Hour))
	used, err := db.Redeem(t.Context(), challengeOf("used"), challengeOf("key"), ca.issue)
	require.NoError(t, err)

	now = now.Add(time.Hour)
	_, err = db.Redeem(t.Context(), challengeOf("old"), challengeOf("key"), ca.issue)
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(err))
	require.ErrorContains(t, err, "expired")
	again, err := db.Redeem(t.Context(), challengeOf("used"), challengeOf("key"), ca.issue)
	require.NoError(t, err, "what was used in time is answered again later")
	require.Equal(t, used, again)
}

func TestCertificateThatCannotBeSignedLeavesTheChallengeUnused(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("x"), time.Hour))
	broken := errors.New("broken")
	_, err := db.Redeem(t.Context(), challengeOf("x"), challengeOf("key"), func(string) ([]byte, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	_, err = db.Redeem(t.Context(), challengeOf("x"), challengeOf("other key"), ca.issue)
	require.NoError(t, err)
}

func TestReleasedDeviceGetsNoCertificate(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("used"), time.Hour))
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("unused"), time.Hour))
	der, err := db.Redeem(t.Context(), challengeOf("used"), challengeOf("key"), ca.issue)
	require.NoError(t, err)
	change(t, db, serial, provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	_, err = db.Carry(t.Context(), serial, provision.Step{Do: provision.ConcludeReleased, Reason: "end_of_life"})
	require.NoError(t, err)

	for _, word := range []string{"used", "unused"} {
		_, err = db.Redeem(t.Context(), challengeOf(word), challengeOf("key"), ca.issue)
		require.Equal(t, provision.ChallengeRefused, provision.CodeOf(err), word)
	}
	id, err := db.Identity(t.Context(), store.IdentityHash(der))
	require.NoError(t, err)
	require.True(t, id.Revoked)
	require.True(t, id.Released)
}

func TestNewerIdentitySupersedesOlderOnes(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	var hashes []string
	for _, word := range []string{"1", "2", "3"} {
		require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf(word), time.Hour))
		der, err := db.Redeem(t.Context(), challengeOf(word), challengeOf(word), ca.issue)
		require.NoError(t, err)
		hashes = append(hashes, store.IdentityHash(der))
	}
	_, err := db.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		return c.SupersedeIdentities(ctx, hashes[1])
	})
	require.NoError(t, err)
	for i, revoked := range []bool{true, false, false} {
		id, err := db.Identity(t.Context(), hashes[i])
		require.NoError(t, err)
		require.Equal(t, revoked, id.Revoked, "certificate %d", i+1)
	}
}

func TestIdentityTellsHowTheDeviceStands(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("1"), time.Hour))
	der, err := db.Redeem(t.Context(), challengeOf("1"), challengeOf("1"), ca.issue)
	require.NoError(t, err)
	hash := store.IdentityHash(der)

	read := func() store.Identity {
		id, err := db.Identity(t.Context(), hash)
		require.NoError(t, err)
		return id
	}
	require.False(t, read().Opened())
	require.Empty(t, read().UDID)
	_, err = db.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		if err := c.SetUDID(ctx, "UDID-1"); err != nil {
			return err
		}
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Authenticated, Epoch: 1})
		return err
	})
	require.NoError(t, err)
	_, err = db.NanoMDM().ExecContext(t.Context(), `INSERT INTO cert_auth_associations (id, sha256) VALUES ('UDID-1', $1)`, hash)
	require.NoError(t, err)
	id := read()
	require.True(t, id.Opened())
	require.Equal(t, "UDID-1", id.UDID)
	require.Equal(t, []string{"UDID-1"}, id.Enrollments)
	change(t, db, serial, provision.Fact{Kind: provision.Activated, Epoch: 1})
	require.Equal(t, provision.Managed, read().Management)
	require.False(t, read().Opened())

	_, err = db.Identity(t.Context(), store.IdentityHash([]byte("foreign")))
	require.Equal(t, provision.IdentityRefused, provision.CodeOf(err))
}

func TestCertificatesThatEndAreCounted(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	soon := time.Now().Add(2 * time.Hour)
	none, err := db.IdentitiesEnding(t.Context(), soon)
	require.NoError(t, err)
	require.Zero(t, none)

	hashes := map[string]string{}
	for _, serial := range []string{"C07Q853LG9RA", "C07Q853LG9RB", "C07Q853LG9RC", "C07Q853LG9RD"} {
		register(t, db, serial)
		change(t, db, serial, provision.Fact{Kind: provision.Authenticated, Epoch: 1}, provision.Fact{Kind: provision.Activated, Epoch: 1})
		require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf(serial), time.Hour))
		der, err := db.Redeem(t.Context(), challengeOf(serial), challengeOf("key"), ca.issue)
		require.NoError(t, err)
		hashes[serial] = store.IdentityHash(der)
	}
	change(t, db, "C07Q853LG9RC", provision.Fact{Kind: provision.CheckedOut, Epoch: 1})
	change(t, db, "C07Q853LG9RD", provision.Fact{Kind: provision.ReleaseRequest}, provision.Fact{Kind: provision.Released})
	ending, err := db.IdentitiesEnding(t.Context(), soon)
	require.NoError(t, err)
	require.Equal(t, 2, ending.Devices, "devices that aren't managed need no certificate")
	require.Equal(t, "C07Q853LG9RA", ending.First)
	cert, err := db.Identity(t.Context(), hashes["C07Q853LG9RA"])
	require.NoError(t, err)
	require.Equal(t, cert.NotAfter, ending.At)

	earlier, err := db.IdentitiesEnding(t.Context(), time.Now())
	require.NoError(t, err)
	require.Zero(t, earlier)
}

// The device is locked by both: whichever comes first, the challenge isn't good for a certificate after the enrollment.
func TestRedeemingAndEnrollingAtOnceGetInNoOnesWay(t *testing.T) {
	db, ca := open(t), &certify{t: t}
	register(t, db, serial)
	require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf("first"), time.Hour))
	der, err := db.Redeem(t.Context(), challengeOf("first"), challengeOf("key"), ca.issue)
	require.NoError(t, err)
	for round := range 20 {
		word := string(rune('a' + round))
		require.NoError(t, db.AddChallenge(t.Context(), serial, challengeOf(word), time.Hour))
		var together sync.WaitGroup
		together.Go(func() {
			_, err := db.Redeem(context.Background(), challengeOf(word), challengeOf(word), ca.issue)
			if err != nil && provision.CodeOf(err) != provision.ChallengeRefused {
				t.Errorf("redeeming: %v", err)
			}
		})
		together.Go(func() {
			_, err := db.Update(context.Background(), serial, func(ctx context.Context, c *store.Change) error {
				return c.ExpireChallenges(ctx, store.IdentityHash(der), false)
			})
			if err != nil {
				t.Errorf("enrolling: %v", err)
			}
		})
		together.Wait()
		_, err := db.Redeem(t.Context(), challengeOf(word), challengeOf("another key"), ca.issue)
		require.Equal(t, provision.ChallengeRefused, provision.CodeOf(err))
	}
}
