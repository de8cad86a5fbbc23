package identity_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// element is a part of a message.
func element(t *testing.T, der []byte) (part asn1.RawValue, rest []byte) {
	t.Helper()
	rest, err := asn1.Unmarshal(der, &part)
	require.NoError(t, err)
	return part, rest
}

// streamed writes a message as devices do, without knowing how long it will be: all levels around what is signed have no length,
// and what is signed comes in pieces.
func streamed(t *testing.T, der []byte, piece int) []byte {
	t.Helper()
	message, _ := element(t, der)
	kind, rest := element(t, message.Bytes)
	wrapped, _ := element(t, rest)
	signed, _ := element(t, wrapped.Bytes)
	version, rest := element(t, signed.Bytes)
	_, rest = element(t, rest)
	content, signers := element(t, rest) // what is signed; certificates and signatures keep their lengths
	contentKind, rest := element(t, content.Bytes)
	held, _ := element(t, rest)
	text, _ := element(t, held.Bytes)

	sha1 := []byte{0x31, 0x0b, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00}
	var pieces []byte
	for at := 0; at < len(text.Bytes); at += piece {
		one, err := asn1.Marshal(text.Bytes[at:min(at+piece, len(text.Bytes))])
		require.NoError(t, err)
		pieces = append(pieces, one...)
	}
	begin := func(tag byte) []byte { return []byte{tag, 0x80} }
	end := func(levels int) []byte { return make([]byte, 2*levels) }
	const sequence, tagged, octets = 0x30, 0xa0, 0x24
	return bytes.Join([][]byte{
		begin(sequence), kind.FullBytes, begin(tagged), begin(sequence), version.FullBytes, sha1,
		begin(sequence), contentKind.FullBytes, begin(tagged), begin(octets), pieces, end(3),
		signers, end(3),
	}, nil)
}

func TestMachineInfoIsStreamed(t *testing.T) {
	message, err := virtual(t).MachineInfo()
	require.NoError(t, err)
	want, err := machines(t).Open(message)
	require.NoError(t, err)
	for _, piece := range []int{1 << 16, 100, 1} {
		raw := streamed(t, message, piece)
		require.Regexp(t, `^MIAGCSqGSIb3DQEHAqCAMIACAQExCzAJBgUrDgMCGgUAMIAGCSqGSIb3DQEHAaCAJIAE`, base64.StdEncoding.EncodeToString(raw), "as a device's begins")
		got, err := machines(t).Open(raw)
		require.NoError(t, err, "in pieces of %d bytes", piece)
		require.Equal(t, want, got)
	}
}
