package dep

import (
	"context"

	"github.com/micromdm/nanodep/godep"
)

// Account is what Apple tells about the server that the token belongs to, and about its organisation (Apple: "Get Account
// Detail").
type Account struct {
	ServerName string
	ServerUUID string // the id of the same server in the Apple Business API

	AdminID       string // the Apple Account that downloaded the token
	FacilitatorID string // its older name, which Apple means to drop

	OrgName    string
	OrgEmail   string
	OrgPhone   string
	OrgAddress string
	OrgID      string
	OrgIDHash  string
	OrgType    string // org or edu
	OrgVersion string
	URLs       []URL
}

// URL is an address that Apple offers the server, and how many devices go into a request or an answer there; 0 where
// Apple doesn't say.
type URL struct {
	URI     string
	Methods []string
	Default int
	Maximum int
}

// Account asks for the details of the token's server.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var got *godep.AccountDetailJson
	err := c.call(ctx, func(ctx context.Context) (err error) {
		got, err = c.api.AccountDetail(ctx, name)
		return err
	})
	if err != nil {
		return Account{}, err
	}
	if value(got.ServerUuid) == "" {
		return Account{}, incomplete("server_uuid")
	}
	a := Account{
		ServerName: value(got.ServerName), ServerUUID: value(got.ServerUuid),
		AdminID: value(got.AdminId), FacilitatorID: value(got.FacilitatorId),
		OrgName: value(got.OrgName), OrgEmail: value(got.OrgEmail), OrgPhone: value(got.OrgPhone), OrgAddress: value(got.OrgAddress),
		OrgID: value(got.OrgId), OrgIDHash: value(got.OrgIdHash), OrgType: string(value(got.OrgType)), OrgVersion: string(value(got.OrgVersion)),
	}
	for _, u := range got.Urls {
		offered := URL{URI: value(u.Uri)}
		for _, method := range u.HttpMethod {
			offered.Methods = append(offered.Methods, string(method))
		}
		if u.Limit != nil {
			offered.Default, offered.Maximum = value(u.Limit.Default), value(u.Limit.Maximum)
		}
		a.URLs = append(a.URLs, offered)
	}
	return a, nil
}

// value is what a pointer points to, the zero value if nowhere.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
