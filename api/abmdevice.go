package api

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// GetDeviceAbm answers GET /v1/devices/{serial}/abm.
func (r *rest) GetDeviceAbm(ctx context.Context, q GetDeviceAbmRequestObject) (GetDeviceAbmResponseObject, error) {
	serial, err := provision.ParseSerial(q.Serial)
	if err != nil {
		return nil, err
	}
	shown, err := r.inABM(ctx, serial, nil)
	return GetDeviceAbm200JSONResponse{shown}, err
}

// PutDeviceDeviceProfile answers PUT /v1/devices/{serial}/device-profile.
func (r *rest) PutDeviceDeviceProfile(ctx context.Context, q PutDeviceDeviceProfileRequestObject) (PutDeviceDeviceProfileResponseObject, error) {
	serial, err := r.Intake.SetDeviceProfile(ctx, actorOf(ctx), q.Serial, q.Body.Name)
	shown, err := r.inABM(ctx, serial, err)
	return PutDeviceDeviceProfile200JSONResponse{shown}, err
}

// DeleteDeviceDeviceProfile answers DELETE /v1/devices/{serial}/device-profile.
func (r *rest) DeleteDeviceDeviceProfile(ctx context.Context, q DeleteDeviceDeviceProfileRequestObject) (DeleteDeviceDeviceProfileResponseObject, error) {
	serial, err := r.Intake.SetDeviceProfile(ctx, actorOf(ctx), q.Serial, "")
	shown, err := r.inABM(ctx, serial, err)
	return DeleteDeviceDeviceProfile200JSONResponse{shown}, err
}

// UnassignDeviceFromMdm answers POST /v1/devices/{serial}:unassign-from-mdm.
func (r *rest) UnassignDeviceFromMdm(ctx context.Context, q UnassignDeviceFromMdmRequestObject) (UnassignDeviceFromMdmResponseObject, error) {
	d, err := r.Intake.UnassignFromMDM(ctx, actorOf(ctx), q.Serial)
	shown, err := r.changed(ctx, d, err)
	return UnassignDeviceFromMdm200JSONResponse{shown}, err
}

// CancelDeviceRelease answers POST /v1/devices/{serial}:cancel-release.
func (r *rest) CancelDeviceRelease(ctx context.Context, q CancelDeviceReleaseRequestObject) (CancelDeviceReleaseResponseObject, error) {
	d, err := r.Intake.CancelRelease(ctx, actorOf(ctx), q.Serial)
	shown, err := r.changed(ctx, d, err)
	return CancelDeviceRelease200JSONResponse{shown}, err
}

// inABM renders a device as Apple Business Manager knows it, after what may have failed.
func (r *rest) inABM(ctx context.Context, serial string, err error) (DeviceAbmJSONResponse, error) {
	if err != nil {
		return DeviceAbmJSONResponse{}, err
	}
	v, err := r.DB.ABMView(ctx, serial)
	if err != nil {
		return DeviceAbmJSONResponse{}, err
	}
	said := v.Device.ABM
	out := DeviceAbmJSONResponse{
		Serial: serial, AbmState: given(AbmState(said.State)), Server: given(said.Server), OtherServer: given(said.Other),
		Provisional: r.renderProvisional(v), Servers: each(v.Listings, renderListing), Duties: each(v.Duties, renderDuty),
		Requests: renderRequests(v.Device),
	}
	if v.Wanted.Name != "" {
		out.DeviceProfile = &WantedProfile{Name: v.Wanted.Name, By: WantedProfileBy(v.Wanted.By), Of: given(v.Wanted.Of)}
	}
	return out, nil
}

// renderProvisional: the period begins when the device enrolls first, and doesn't begin anew (R83).
func (r *rest) renderProvisional(v store.ABMView) *Provisional {
	switch {
	case v.AddedByHand() == nil:
		return nil
	case v.FirstEnrolledAt == nil:
		return &Provisional{}
	}
	until := v.FirstEnrolledAt.Add(provision.ProvisionalPeriod)
	if !until.After(r.DB.Now()) {
		return nil
	}
	return &Provisional{Since: v.FirstEnrolledAt, Until: &until}
}

func renderListing(l store.ABMListing) AbmListing {
	return AbmListing{
		Server: l.Server, Listed: l.Listed, Model: l.Model, Description: l.Description, Color: l.Color, AssetTag: l.AssetTag,
		Family: l.Family, Os: l.OS, AssignedBy: l.AssignedBy, AssignedAt: l.AssignedAt, ProfileUuid: l.ProfileUUID,
		ProfileStatus: l.ProfileStatus, Profile: given(l.Profile), ProfileAssignedAt: l.ProfileAssignedAt,
		ProfilePushedAt: l.ProfilePushedAt, OpType: l.OpType, OpDate: l.OpDate, SeenAt: l.SeenAt, GoneAt: l.GoneAt,
		Settled: l.Settled, Source: l.Source, AddedAt: l.AddedAt,
	}
}

func renderDuty(d store.ABMDuty) AbmDuty {
	return AbmDuty{
		Verb: AbmVerb(d.Verb), Server: d.Server, Profile: given(d.Profile), DueAt: d.DueAt, Tries: d.Tries, Result: d.Result,
		AnsweredAt: d.AnsweredAt, Activity: given(d.Activity), CreatedAt: d.CreatedAt,
	}
}

// renderRequests are what Apple was asked for the device, or answered without being asked for it alone.
func renderRequests(d provision.Device) []AbmRequest {
	out := []AbmRequest{}
	for _, request := range []struct {
		verb provision.ABMVerb
		is   provision.ABMRequest
	}{{provision.AssignProfile, d.ABMProfile}, {provision.UnassignDevice, d.ABMUnassign}, {provision.ReleaseDevice, d.ABMRelease}} {
		is := request.is
		if is.Asked.By == 0 && is.Answered.By == 0 {
			continue
		}
		shown := AbmRequest{Verb: AbmVerb(request.verb), AskedAt: when(is.Asked), AnsweredAt: when(is.Answered)}
		if is.Answered.By > is.Asked.By { // an answer of before says nothing of what is asked now
			shown.Outcome, shown.Result = given(AbmRequestOutcome(is.Outcome)), is.Result
			shown.Profile, shown.AgainAt = given(is.Profile), is.Until
		}
		out = append(out, shown)
	}
	return out
}

// renderRelease is a release that was asked for and not carried out yet.
func (r *rest) renderRelease(d provision.Device) *PendingRelease {
	if !d.ReleasePending() {
		return nil
	}
	return &PendingRelease{Reason: d.ReleaseReason, AskedAt: d.ReleaseAsked.At, DueAt: d.ReleaseDue(r.Policy), Begun: d.ReleaseBegun()}
}
