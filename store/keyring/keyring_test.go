package keyring_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store/keyring"
)

const place = "abm_servers/school/token"

// key is one with the id, of 32 bytes that are all different from another seed's.
func key(id string, seed byte) string {
	b := bytes.Repeat([]byte{seed}, 32)
	return id + ":" + base64.StdEncoding.EncodeToString(b)
}

func parse(t testing.TB, text string) *keyring.Keyring {
	t.Helper()
	k, err := keyring.Parse(text)
	require.NoError(t, err)
	return k
}

func requireCode(t testing.TB, err error, code provision.Code, sentence string) {
	t.Helper()
	require.Equal(t, code, provision.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, sentence)
}

func TestWhatIsSealedOpensAtItsPlaceOnly(t *testing.T) {
	k := parse(t, key("a", 1))
	sealed, err := k.Seal([]byte("hunter2"), place)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "hunter2")
	require.NotContains(t, string(sealed), "school")

	plain, err := k.Open(sealed, place)
	require.NoError(t, err)
	require.Equal(t, "hunter2", string(plain))
	for _, elsewhere := range []string{"", "abm_servers/other/token", place + "/", place[:len(place)-1]} {
		_, err = k.Open(sealed, elsewhere)
		requireCode(t, err, provision.SecretUnreadable, "moved there from elsewhere")
	}

	again, err := k.Seal([]byte("hunter2"), place)
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "equal secrets mustn't look equal")
}

func TestAnyChangeIsNoticed(t *testing.T) {
	k := parse(t, key("a", 1)+","+key("b", 2))
	sealed, err := k.Seal([]byte("hunter2"), place)
	require.NoError(t, err)
	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(sealed)
			changed[i] ^= bit
			_, err := k.Open(changed, place)
			require.Error(t, err, "byte %d", i)
		}
	}
	for n := range sealed {
		_, err := k.Open(sealed[:n], place)
		require.Error(t, err, "the first %d bytes", n)
	}
	_, err = k.Open(append(bytes.Clone(sealed), 0), place)
	requireCode(t, err, provision.SecretUnreadable, "was changed")
}

func TestARowsKeyCannotBeRelabelled(t *testing.T) {
	// Both ids name the same key in one ring each, so only the authenticated header can tell.
	one, two := parse(t, key("a", 1)), parse(t, key("b", 1))
	sealed, err := one.Seal([]byte("x"), place)
	require.NoError(t, err)
	relabelled := bytes.Replace(sealed, []byte("\x01a"), []byte("\x01b"), 1)
	require.NotEqual(t, sealed, relabelled)
	_, err = two.Open(relabelled, place)
	requireCode(t, err, provision.SecretUnreadable, `"b"`)
}

func TestRotation(t *testing.T) {
	old := parse(t, key("old", 1))
	sealed, err := old.Seal([]byte("secret"), place)
	require.NoError(t, err)

	both := parse(t, key("new", 2)+"\n"+key("old", 1)+"\n")
	require.Equal(t, "new", both.Primary())
	plain, err := both.Open(sealed, place)
	require.NoError(t, err)
	again, err := both.Seal(plain, place)
	require.NoError(t, err)
	id, ok := keyring.KeyOf(again)
	require.True(t, ok)
	require.Equal(t, "new", id)
	id, _ = keyring.KeyOf(sealed)
	require.Equal(t, "old", id)

	alone := parse(t, key("new", 2))
	_, err = alone.Open(again, place)
	require.NoError(t, err)
	_, err = alone.Open(sealed, place)
	requireCode(t, err, provision.KeyringKeyUnknown, `"old"`)
	_, err = parse(t, key("old", 3)).Open(sealed, place)
	requireCode(t, err, provision.SecretUnreadable, "is another one now")
}

func TestNoKeyringAtAll(t *testing.T) {
	var none *keyring.Keyring
	require.Empty(t, none.Primary())
	_, err := none.Seal([]byte("x"), place)
	requireCode(t, err, provision.KeyringMissing, "MUSTER_KEYRING")
	_, err = none.Open([]byte("x"), place)
	requireCode(t, err, provision.KeyringMissing, "MUSTER_KEYRING")
}

func TestKeyOfKnowsWhatIsSealed(t *testing.T) {
	sealed, err := parse(t, key("a-1", 1)).Seal(nil, "")
	require.NoError(t, err)
	id, ok := keyring.KeyOf(sealed)
	require.True(t, ok)
	require.Equal(t, "a-1", id)
	for _, other := range []string{
		"", "hunter2", `{"consumer_key":"CK_"}`, string(sealed[:len(sealed)-1]), "mstr\x01", "mstr\x01\x00" + strings.Repeat("x", 40),
		strings.Replace(string(sealed), "a-1", "A-1", 1), strings.Replace(string(sealed), "mstr\x01", "mstr\x02", 1),
	} {
		_, ok := keyring.KeyOf([]byte(other))
		require.False(t, ok, "%q", other)
		_, err := parse(t, key("a-1", 1)).Open([]byte(other), place)
		requireCode(t, err, provision.SecretUnreadable, "isn't a sealed secret")
	}
}

func TestOpenUndoesSeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fresh, err := keyring.Parse(keyring.NewKey())
		require.NoError(t, err)
		plain, place := rapid.SliceOf(rapid.Byte()).Draw(t, "plain"), rapid.String().Draw(t, "place")
		sealed, err := fresh.Seal(plain, place)
		require.NoError(t, err)
		opened, err := fresh.Open(sealed, place)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, opened))
	})
}

func TestManyAtOnce(t *testing.T) {
	k := parse(t, key("a", 1))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				sealed, err := k.Seal([]byte("x"), place)
				if err == nil {
					_, err = k.Open(sealed, place)
				}
				if err != nil {
					t.Errorf("sealing and opening: %v", err)
				}
			}
		})
	}
	group.Wait()
}

// Whatever lies in the database, Open neither breaks nor takes it for a secret.
func FuzzOpen(f *testing.F) {
	k := parse(f, key("a", 1)+" "+key("b", 2))
	sealed, err := k.Seal([]byte("hunter2"), place)
	require.NoError(f, err)
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-3])
	f.Add([]byte("mstr\x01\xffa"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		plain, err := k.Open(stored, place)
		if err == nil && string(plain) != "hunter2" { // what a seed holds: each process seals its own
			t.Fatalf("opened %q to %q", stored, plain)
		}
		if _, ok := keyring.KeyOf(stored); !ok && err == nil {
			t.Fatal("opened what isn't sealed")
		}
	})
}
