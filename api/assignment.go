package api

import (
	"context"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

// GetAssignment answers GET /v1/devices/{serial}/assignment.
func (r *rest) GetAssignment(ctx context.Context, q GetAssignmentRequestObject) (GetAssignmentResponseObject, error) {
	d, err := r.device(ctx, q.Serial)
	if err != nil {
		return nil, err
	}
	if d.Assignment == nil {
		return nil, faultf(codeAssignmentNotFound, "Nobody is assigned to device %s.", d.Serial)
	}
	return GetAssignment200JSONResponse{
		Body: *d.Assignment, Headers: GetAssignment200ResponseHeaders{ETag: etag(d.Assignment.Version)},
	}, nil
}

// AssignDevice answers PUT /v1/devices/{serial}/assignment.
func (r *rest) AssignDevice(ctx context.Context, q AssignDeviceRequestObject) (AssignDeviceResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, q.Params.IfNoneMatch != nil)
	if err != nil {
		return nil, err
	}
	out, err := r.Intake.Assign(ctx, actorOf(ctx), q.Serial, wishOf(*q.Body), condition)
	if err != nil {
		return nil, err
	}
	shown, err := r.device(ctx, out.Device.Serial)
	if err != nil {
		return nil, err
	}
	return AssignDevice200JSONResponse{
		Body:    AssignmentResult{Device: shown, Changed: out.Changed, Reservation: out.Reservation},
		Headers: AssignDevice200ResponseHeaders{ETag: etag(intake.AssignmentVersion(out.Device))},
	}, nil
}

func wishOf(in AssignmentInput) intake.AssignmentWish {
	w := intake.AssignmentWish{Groups: value(in.Groups), OwnedBy: string(value(in.OwnedBy)), EffectiveAt: in.EffectiveAt, ReturnBy: in.ReturnBy, ExpectedBy: in.ExpectedBy}
	if in.User != nil {
		w.User = &provision.Person{Name: in.User.Name, Domain: value(in.User.Domain), Email: in.User.Email}
	}
	if in.Technician != nil {
		w.Technician = &provision.Person{Name: in.Technician.Name, Domain: value(in.Technician.Domain)}
	}
	return w
}

// UnassignDevice answers DELETE /v1/devices/{serial}/assignment.
func (r *rest) UnassignDevice(ctx context.Context, q UnassignDeviceRequestObject) (UnassignDeviceResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	d, err := r.Intake.Unassign(ctx, actorOf(ctx), q.Serial, condition)
	shown, err := r.changed(ctx, d, err)
	return UnassignDevice200JSONResponse{shown}, err
}

// ReleaseDevice answers POST /v1/devices/{serial}:release.
func (r *rest) ReleaseDevice(ctx context.Context, q ReleaseDeviceRequestObject) (ReleaseDeviceResponseObject, error) {
	d, err := r.Intake.Release(ctx, actorOf(ctx), q.Serial, q.Body.Reason, q.Body.Serial)
	shown, err := r.changed(ctx, d, err)
	return ReleaseDevice200JSONResponse{shown}, err
}

// HoldDevice answers POST /v1/devices/{serial}:hold.
func (r *rest) HoldDevice(ctx context.Context, q HoldDeviceRequestObject) (HoldDeviceResponseObject, error) {
	d, err := r.Intake.Hold(ctx, actorOf(ctx), q.Serial, q.Body.Reason)
	shown, err := r.changed(ctx, d, err)
	return HoldDevice200JSONResponse{shown}, err
}

// ResumeDevice answers POST /v1/devices/{serial}:resume.
func (r *rest) ResumeDevice(ctx context.Context, q ResumeDeviceRequestObject) (ResumeDeviceResponseObject, error) {
	d, err := r.Intake.Resume(ctx, actorOf(ctx), q.Serial)
	shown, err := r.changed(ctx, d, err)
	return ResumeDevice200JSONResponse{shown}, err
}

// ReleaseDeviceFromSetup answers POST /v1/devices/{serial}:release-from-setup.
func (r *rest) ReleaseDeviceFromSetup(ctx context.Context, q ReleaseDeviceFromSetupRequestObject) (ReleaseDeviceFromSetupResponseObject, error) {
	d, err := r.Intake.ReleaseFromSetup(ctx, actorOf(ctx), q.Serial)
	shown, err := r.changed(ctx, d, err)
	return ReleaseDeviceFromSetup200JSONResponse{shown}, err
}

// ExtendDeviceHold answers POST /v1/devices/{serial}:extend-hold.
func (r *rest) ExtendDeviceHold(ctx context.Context, q ExtendDeviceHoldRequestObject) (ExtendDeviceHoldResponseObject, error) {
	d, err := r.Intake.ExtendHold(ctx, actorOf(ctx), q.Serial, q.Body.Until)
	shown, err := r.changed(ctx, d, err)
	return ExtendDeviceHold200JSONResponse{shown}, err
}

// RetryDevice answers POST /v1/devices/{serial}:retry.
func (r *rest) RetryDevice(ctx context.Context, q RetryDeviceRequestObject) (RetryDeviceResponseObject, error) {
	d, err := r.Intake.Retry(ctx, actorOf(ctx), q.Serial)
	shown, err := r.changed(ctx, d, err)
	return RetryDevice200JSONResponse{shown}, err
}
