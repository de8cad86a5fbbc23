package keyring_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store/keyring"
)

func TestParseTakesListsInAnyLayout(t *testing.T) {
	a, b := key("a", 1), key("2026-11-27-b", 2)
	for _, text := range []string{
		a + "," + b, a + "\n" + b + "\n", " " + a + " ,\r\n\t" + b + ", ", strings.TrimRight(a, "=") + " " + strings.TrimRight(b, "="),
	} {
		k := parse(t, text)
		require.Equal(t, "a", k.Primary(), "%q", text)
		sealed, err := parse(t, b).Seal([]byte("x"), place)
		require.NoError(t, err)
		_, err = k.Open(sealed, place)
		require.NoError(t, err, "%q", text)
	}
}

func TestParseNamesEachMistakeWithoutTheKey(t *testing.T) {
	raw := strings.TrimPrefix(key("a", 1), "a:")
	for text, want := range map[string]string{
		raw:                             "Key 1 of the keyring has no id",
		key("a", 1) + "," + raw:         "Key 2 of the keyring has no id",
		":" + raw:                       "an id that can't be used",
		raw + ":a":                      "an id that can't be used",
		key("Key", 1):                   "an id that can't be used",
		key("a.b", 1):                   "an id that can't be used",
		key("ä", 1):                     "an id that can't be used",
		key(strings.Repeat("a", 33), 1): "an id that can't be used",
		"a:":                            "has 0 bytes; it needs exactly 32",
		"a:" + raw[:24]:                 "has 18 bytes",
		"a:" + raw + "=":                "",
		"a:" + raw[:42]:                 "has 31 bytes",
		"a:" + raw[:41]:                 "isn't base64",
		"a:" + raw[:42] + "F=":          "isn't base64", // bits beyond the last byte
		"a:" + raw + raw:                "isn't base64",
		"a:b:" + raw:                    "isn't base64",
		"a:%" + raw[1:]:                 "isn't base64",
		key("a", 1) + " " + key("a", 2): "Key 2 of the keyring has the same id",
		key("a", 1) + " " + key("b", 1): "Keys 1 and 2 of the keyring are the same key",
	} {
		_, err := keyring.Parse(text)
		if want == "" {
			require.NoError(t, err, "%q", text)
			continue
		}
		requireCode(t, err, provision.Invalid, want)
		for _, secret := range regexp.MustCompile(`[A-Za-z0-9+/]{8,}`).FindAllString(raw, -1) {
			require.NotContains(t, err.Error(), secret[:8], "%q", text)
		}
	}
	for _, text := range []string{"", " ", ",\n,"} {
		_, err := keyring.Parse(text)
		requireCode(t, err, provision.KeyringMissing, "id:base64")
	}
}

func TestNewKeyIsFreshAndTellsItsAge(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		text := keyring.NewKey()
		id, encoded, _ := strings.Cut(text, ":")
		require.False(t, seen[id] || seen[encoded])
		seen[id], seen[encoded] = true, true
		raw, err := base64.StdEncoding.DecodeString(encoded)
		require.NoError(t, err)
		require.Len(t, raw, 32)
		require.Equal(t, id, parse(t, text).Primary())
	}
	id, _, _ := strings.Cut(keyring.NewKey(), ":")
	made, err := time.Parse(time.DateOnly, id[:len(time.DateOnly)])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), made, 25*time.Hour)
}

// Whatever the setting holds, Parse takes it or says why, and repeats no long part of it.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "a", key("a", 1), key("a", 1) + "," + key("b", 2), "a:AAAA", key("a", 1) + " " + key("a", 2)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := keyring.Parse(text)
		if err != nil {
			if k != nil {
				t.Fatal("a keyring and an error")
			}
			for _, part := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", :\t\r\n", r) }) {
				if len(part) > 16 && strings.Contains(err.Error(), part) {
					t.Fatalf("%q repeats %q", err, part)
				}
			}
			return
		}
		sealed, err := k.Seal([]byte("x"), place)
		require.NoError(t, err)
		id, ok := keyring.KeyOf(sealed)
		require.True(t, ok)
		require.Equal(t, k.Primary(), id)
		_, err = k.Open(sealed, place)
		require.NoError(t, err)
	})
}
