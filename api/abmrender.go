package api

import (
	"time"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func (r *rest) serverAnswer(s store.ABMServer) AbmServerJSONResponse {
	return AbmServerJSONResponse{Body: r.renderServer(s), Headers: AbmServerResponseHeaders{ETag: etag(s.Version)}}
}

func (r *rest) renderServer(s store.ABMServer) AbmServer {
	now := r.DB.Now()
	out := AbmServer{
		Name: s.Name, Description: s.Description, DefaultProfile: given(s.DefaultProfile), Paused: s.Paused,
		SyncEvery: intake.FormatDuration(s.SyncEvery), FullEvery: intake.FormatDuration(s.FullEvery),
		AutoAssignUsers: s.AutoAssign, SignInConflict: SignInConflict(s.Conflict), SignInHold: intake.FormatDuration(s.Hold),
		SignInHoldChoice: SignInHoldChoice(s.HoldChoice),
		LinkedAt:         s.LinkedAt, Token: renderServerToken(s, now), Account: renderAccount(s.Account),
		Phase: AbmServerPhase(s.Phase), FullStartedAt: s.FullStartedAt, FullDoneAt: s.FullDoneAt, SyncedAt: s.SyncedAt,
		SyncNote: s.SyncNote, SyncWantedAt: s.SyncWantedAt, Health: renderHealth(s), Throttled: s.Throttled,
		Devices: s.Devices, Waiting: s.Waiting, Version: s.Version, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
	if s.BusinessClient != "" {
		out.BusinessAccount = &AbmBusinessAccount{ClientId: s.BusinessClient, KeyId: s.BusinessKey}
	}
	if s.ThrottledUntil != nil && s.ThrottledUntil.After(now) {
		out.ThrottledUntil = s.ThrottledUntil
	}
	return out
}

func renderServerToken(s store.ABMServer, now time.Time) *AbmToken {
	if s.TokenExpiresAt == nil {
		return nil
	}
	return &AbmToken{ExpiresAt: *s.TokenExpiresAt, Warning: given(AbmTokenWarning(provision.WarnOfToken(*s.TokenExpiresAt, now)))}
}

func renderAccount(a *store.ABMAccount) *AbmAccount {
	if a == nil {
		return nil
	}
	return &AbmAccount{
		ServerName: a.ServerName, ServerUuid: a.ServerUUID, AdminId: given(a.AdminID), OrgName: a.OrgName, OrgId: given(a.OrgID),
		OrgType: a.OrgType, OrgEmail: given(a.OrgEmail), OrgPhone: given(a.OrgPhone), OrgAddress: given(a.OrgAddress),
	}
}

func renderHealth(s store.ABMServer) AbmHealth {
	h := AbmHealth{State: AbmHealthState(s.Health), Since: s.HealthSince, Detail: s.HealthDetail, FailingSince: s.FailingSince}
	switch cause := s.Blocked(); {
	case s.Health == store.Unlinked:
		who := "an administrator"
		h.Explanation = "There is no server token yet: upload the certificate at Apple, and the token that Apple gives here."
		h.Who = &who
	case cause != "":
		what, who := cause.Explain(s.Name)
		h.Explanation, h.Who = what, &who
	}
	return h
}
