package directory_test

import (
	"encoding/asn1"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// answerBind speaks as much LDAP as a bind needs (RFC 4511, 4.2.2), for answers that can't be had from a directory at will.
func answerBind(result int, text string) func(net.Conn) {
	return func(conn net.Conn) {
		request := make([]byte, 4096)
		n, err := conn.Read(request)
		if err != nil {
			return
		}
		var message struct {
			ID        int
			Operation asn1.RawValue
			Controls  asn1.RawValue `asn1:"optional,tag:0"`
		}
		if _, err := asn1.Unmarshal(request[:n], &message); err != nil {
			return
		}
		const bindResponse = 1
		body := append([]byte{0x0a, 1, byte(result), 0x04, 0}, marshal([]byte(text))...)
		operation := asn1.RawValue{Class: asn1.ClassApplication, Tag: bindResponse, IsCompound: true, Bytes: body}
		_, _ = conn.Write(marshal(struct {
			ID        int
			Operation asn1.RawValue
		}{message.ID, operation}))
		silent(conn)
	}
}

func marshal(value any) []byte {
	raw, err := asn1.Marshal(value)
	if err != nil {
		panic(err)
	}
	return raw
}

// Sub-codes that Samba doesn't make, and results of a directory in trouble.
func TestWhatABindIsAnswered(t *testing.T) {
	sub := func(code string) string {
		return "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data " + code + ", v3839"
	}
	for _, c := range []struct {
		result int
		text   string
		code   provision.Code
	}{
		{49, sub("525"), provision.SignInRefused},
		{49, sub("52e"), provision.SignInRefused},
		{49, sub("52f"), provision.AccountRestricted},
		{49, sub("530"), provision.AccountRestricted},
		{49, sub("531"), provision.AccountRestricted},
		{49, sub("532"), provision.PasswordExpired},
		{49, sub("533"), provision.AccountDisabled},
		{49, sub("568"), provision.AccountRestricted},
		{49, sub("569"), provision.AccountRestricted},
		{49, sub("701"), provision.AccountExpired},
		{49, sub("773"), provision.PasswordMustChange},
		{49, sub("775"), provision.AccountLocked},
		{49, sub("51f"), provision.DirectoryUnavailable}, // no logon servers
		{49, sub("57"), provision.SignInRefused},
		{49, "", provision.SignInRefused},
		{32, "", provision.SignInRefused},
		{48, "", provision.SignInRefused},
		{1, "", provision.DirectoryUnavailable},
		{3, "", provision.DirectoryUnavailable},
		{51, "", provision.DirectoryUnavailable},
		{52, "", provision.DirectoryUnavailable},
		{53, "", provision.DirectoryUnavailable},
		{80, "", provision.DirectoryUnavailable},
		{81, "", provision.DirectoryUnavailable},
		{2, "", provision.DirectoryInvalid},
		{7, "", provision.DirectoryInvalid},
		{8, "", provision.DirectoryInvalid},
		{10, "", provision.DirectoryInvalid}, // a referral isn't followed
		{13, "", provision.DirectoryInvalid},
		{34, "", provision.DirectoryInvalid},
		{50, "", provision.DirectoryInvalid},
		{99, "", provision.DirectoryInvalid},
	} {
		t.Run(strconv.Itoa(c.result)+" "+c.text, func(t *testing.T) {
			l := newLDAP(t, directory.LDAPConfig{
				Kind: directory.ActiveDirectory, Domain: "ZYLKER", BaseDN: directories.BaseDN, InsecurePlain: true,
				URLs: []string{"ldap://" + listen(t, answerBind(c.result, c.text))},
			})
			p, err := l.SignIn(t.Context(), "andrew", "any")
			refused(t, c.code, p, err)
			require.NotContains(t, told(t, err), "AcceptSecurityContext")
		})
	}
}

// What isn't LDAP at all, cut off or made up, is an outage and doesn't bring us down.
func FuzzAnswerToBind(f *testing.F) {
	f.Add([]byte{0x30, 0x0c, 2, 1, 1, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0})
	f.Add([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := newLDAP(t, directory.LDAPConfig{
			Kind: directory.ActiveDirectory, Domain: "ZYLKER", BaseDN: directories.BaseDN, InsecurePlain: true,
			URLs: []string{"ldap://" + listen(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write(raw)
			})},
		})
		p, err := l.SignIn(t.Context(), "andrew", "any")
		require.Error(t, err)
		require.Zero(t, p)
	})
}

func TestGUIDIsWrittenAsWindowsDoes(t *testing.T) {
	raw := []byte{0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f}
	require.Equal(t, "03020100-0504-0706-0809-0a0b0c0d0e0f", directory.GUID(raw))
	require.Equal(t, byte(3), raw[3], "the entry stays as it is")
	require.Empty(t, directory.GUID(raw[1:]))
}
