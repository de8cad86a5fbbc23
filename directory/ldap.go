package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/muster-mdm/muster/provision"
)

// LDAP is one domain's directory. It is made by [NewLDAP], connects anew for each sign-in, and is safe for concurrent use.
type LDAP struct {
	config  LDAPConfig
	servers []server
}

// NewLDAP makes the directory without asking its servers. It fails with a [SettingsError].
func NewLDAP(config LDAPConfig) (*LDAP, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	l := &LDAP{config: config}
	for _, address := range config.URLs {
		s, err := newServer(address, config)
		if err != nil {
			return nil, err
		}
		l.servers = append(l.servers, s)
	}
	return l, nil
}

// SignIn lets a user of the domain in, by the name without the domain and the password. It binds as the user and then reads who that
// is, at the first server that answers. It fails with one of these codes of provision:
//
//	AccountFormat                             the name can't be one
//	SignInRefused                             wrong name or password
//	AccountDisabled, AccountExpired, AccountLocked, AccountRestricted, PasswordExpired, PasswordMustChange
//	EmailMissing                              let in by the directory, but without an address
//	DirectoryUnavailable                      no server can be reached, trusted, or answers in time; also when ctx ends
//	DirectoryInvalid                          the directory's answers show that the settings are wrong
//
// Active Directory says most of these only for the right password, but AccountLocked for any.
func (l *LDAP) SignIn(ctx context.Context, user, password string) (Person, error) {
	if err := checkUser(user); err != nil {
		return Person{}, err
	}
	// To bind with a name and no password is to bind as nobody, and succeeds (RFC 4513, 5.1.2). A server written in C may see
	// none where it begins with NUL.
	if password == "" || strings.ContainsRune(password, 0) {
		return Person{}, provision.Errorf(provision.SignInRefused, refusal)
	}
	var found Person
	err := l.firstAnswer(ctx, func(conn *ldap.Conn) (err error) {
		if err := l.bind(conn, user, password); err != nil {
			return err
		}
		found, err = l.read(conn, user)
		return err
	})
	if err != nil {
		return Person{}, l.told(err)
	}
	return found, nil
}

// bind proves the password.
func (l *LDAP) bind(conn *ldap.Conn, user, password string) error {
	request := ldap.NewSimpleBindRequest(l.config.bindName(user), password, nil)
	if l.config.Kind == PlainLDAP {
		request.Controls = []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}
	}
	result, err := conn.SimpleBind(request)
	if result != nil {
		if told := l.byPolicy(result.Controls, user); told != nil {
			return because(told, err)
		}
	}
	if err == nil {
		return nil
	}
	var answer *ldap.Error
	if errors.As(err, &answer) {
		if told := l.verdict(answer, user); told != nil {
			return because(told, err)
		}
	}
	return fmt.Errorf("binding: %w", err)
}

// firstAnswer does something at each server in turn until one answers, whatever it answers: a wrong password mustn't be
// tried at all of them, because each would count it.
func (l *LDAP) firstAnswer(ctx context.Context, do func(*ldap.Conn) error) error {
	var outages []error
	for _, s := range l.servers {
		err := s.do(ctx, do)
		var down *outageError
		if !errors.As(err, &down) {
			return err
		}
		outages = append(outages, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(outages...)
}

// told is what the person is told of an error: a sentence that is there already, that the directory isn't available, or else
// that it is set up wrong.
func (l *LDAP) told(err error) error {
	var told *provision.Error
	var down *outageError
	switch {
	case errors.As(err, &told):
		return err
	case errors.As(err, &down):
		return because(provision.Errorf(provision.DirectoryUnavailable,
			"The directory of %s can't be asked at the moment. That says nothing about your password; try again later.", l.config.Domain), err)
	}
	return because(provision.Errorf(provision.DirectoryInvalid,
		"The directory of %s is set up wrong here, so nobody can sign in. Tell your administrator.", l.config.Domain), err)
}
