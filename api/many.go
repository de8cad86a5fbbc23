package api

import (
	"context"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/store"
)

// many begins an operation on many devices.
func (r *rest) many(ctx context.Context, w intake.ManyWish, serials *Serials, filter *DeviceSelection) (StartedOperationJSONResponse, error) {
	if err := selection(&w, serials, filter); err != nil {
		return StartedOperationJSONResponse{}, err
	}
	o, err := r.Intake.Many(ctx, actorOf(ctx), w)
	if err != nil {
		return StartedOperationJSONResponse{}, err
	}
	at := "/v1/operations/" + o.ID
	return StartedOperationJSONResponse{Body: renderOperation(o), Headers: StartedOperationResponseHeaders{Location: &at}}, nil
}

// AssignDevices answers POST /v1/devices:assign.
func (r *rest) AssignDevices(ctx context.Context, q AssignDevicesRequestObject) (AssignDevicesResponseObject, error) {
	wish := wishOf(q.Body.Assignment)
	o, err := r.many(ctx, intake.ManyWish{Kind: store.OpAssign, Assignment: &wish}, q.Body.Serials, q.Body.Filter)
	return AssignDevices202JSONResponse{o}, err
}

// UnassignDevices answers POST /v1/devices:unassign.
func (r *rest) UnassignDevices(ctx context.Context, q UnassignDevicesRequestObject) (UnassignDevicesResponseObject, error) {
	b := q.Body
	o, err := r.many(ctx, intake.ManyWish{Kind: store.OpUnassign, Confirmation: value(b.Confirmation)}, b.Serials, b.Filter)
	return UnassignDevices202JSONResponse{o}, err
}

// UnassignDevicesFromMdm answers POST /v1/devices:unassign-from-mdm.
func (r *rest) UnassignDevicesFromMdm(ctx context.Context, q UnassignDevicesFromMdmRequestObject) (UnassignDevicesFromMdmResponseObject, error) {
	b := q.Body
	o, err := r.many(ctx, intake.ManyWish{Kind: store.OpUnassignFromMDM, Confirmation: value(b.Confirmation)}, b.Serials, b.Filter)
	return UnassignDevicesFromMdm202JSONResponse{o}, err
}

// DeprovisionDevices answers POST /v1/devices:deprovision.
func (r *rest) DeprovisionDevices(ctx context.Context, q DeprovisionDevicesRequestObject) (DeprovisionDevicesResponseObject, error) {
	b := q.Body
	w := intake.ManyWish{Kind: store.OpDeprovision, Reason: b.Reason, By: b.By, Confirmation: value(b.Confirmation)}
	o, err := r.many(ctx, w, b.Serials, b.Filter)
	return DeprovisionDevices202JSONResponse{o}, err
}

// ReleaseDevices answers POST /v1/devices:release.
func (r *rest) ReleaseDevices(ctx context.Context, q ReleaseDevicesRequestObject) (ReleaseDevicesResponseObject, error) {
	b := q.Body
	w := intake.ManyWish{Kind: store.OpRelease, Reason: b.Reason, Confirmation: value(b.Confirmation), Count: b.Count}
	o, err := r.many(ctx, w, b.Serials, b.Filter)
	return ReleaseDevices202JSONResponse{o}, err
}

// WithdrawDevices answers POST /v1/devices:withdraw.
func (r *rest) WithdrawDevices(ctx context.Context, q WithdrawDevicesRequestObject) (WithdrawDevicesResponseObject, error) {
	b := q.Body
	o, err := r.many(ctx, intake.ManyWish{Kind: store.OpWithdraw, Confirmation: value(b.Confirmation)}, b.Serials, b.Filter)
	return WithdrawDevices202JSONResponse{o}, err
}

// WithdrawDevice answers POST /v1/devices/{serial}:withdraw.
func (r *rest) WithdrawDevice(ctx context.Context, q WithdrawDeviceRequestObject) (WithdrawDeviceResponseObject, error) {
	d, err := r.Intake.Withdraw(ctx, actorOf(ctx), q.Serial)
	shown, err := r.changed(ctx, d, err)
	return WithdrawDevice200JSONResponse{shown}, err
}

// DeprovisionDevice answers POST /v1/devices/{serial}:deprovision.
func (r *rest) DeprovisionDevice(ctx context.Context, q DeprovisionDeviceRequestObject) (DeprovisionDeviceResponseObject, error) {
	d, err := r.Intake.Deprovision(ctx, actorOf(ctx), q.Serial, q.Body.Reason, q.Body.By)
	shown, err := r.changed(ctx, d, err)
	return DeprovisionDevice200JSONResponse{shown}, err
}
