package dev

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/sim"
)

const (
	directoryName = "zylker"
	profileSignIn = "signed-in-on"
)

// ofDirectory are the groups of the organisation's directory, and what they bring.
var ofDirectory = map[string]string{"field": "zylker_drivers", "desk": "zylker_office"}

// theirOwn are the devices, by their index, that their users set up themselves, and the group of the directory that these are in.
var theirOwn = map[int]string{1: "desk", 2: "field"}

// accountOf is what the user of the i-th device is called in the directory.
func accountOf(i int) string { return strings.ToLower(people[i%len(people)].name) }

// startDirectory starts the organisation's directory. Where there is none, nobody signs in, and all else goes on.
func (st *stack) startDirectory(ctx context.Context, progress devstack.Progress) error {
	var accounts []directories.Account
	for i, group := range theirOwn {
		accounts = append(accounts, directories.Account{Name: accountOf(i), Mail: people[i].email, Group: group})
	}
	var err error
	if st.people, err = st.directory(ctx, progress, accounts...); err != nil && ctx.Err() == nil {
		progress(fmt.Sprintf("Nobody signs in on their device in this demonstration: %v.", err))
		return nil
	}
	return err
}

// person uses the i-th device; nil when nobody needs to.
func (st *stack) person(i int) sim.Person {
	if theirOwn[i] == "" || st.people == nil {
		return nil
	}
	return &sim.Credentials{Account: directories.Domain + `\` + accountOf(i), Password: st.people.Password}
}

// connect has Muster know where the directory is now. What was changed of it by hand stays.
func (d *demo) connect(ctx context.Context, customer *rehearse.Customer, now *directories.Slapd) error {
	if now == nil {
		return nil
	}
	is, err := d.api.GetDirectoryWithResponse(ctx, directoryName)
	if err != nil {
		return fmt.Errorf("looking for the directory: %w", err)
	}
	if is.JSON200 == nil {
		return customer.Connect(ctx, directoryName, now, ofDirectory)
	}
	in := is.JSON200.Input()
	in.Urls, in.Ca = &[]string{now.URL}, &now.CA
	res, err := d.api.PutDirectoryWithResponse(ctx, directoryName, nil, in)
	if err != nil {
		return fmt.Errorf("moving the directory: %w", err)
	}
	return wanted("moving the directory", res.StatusCode(), res.Body, http.StatusOK)
}
