package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// ListDevices answers GET /v1/devices.
func (r *rest) ListDevices(ctx context.Context, q ListDevicesRequestObject) (ListDevicesResponseObject, error) {
	p := q.Params
	after, err := parseCursor(p.Cursor, "devices", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(p.Limit)
	rows, err := r.DB.Devices(ctx, store.DeviceFilter{
		Statuses: each(value(p.Status), func(s Status) string { return string(s) }), Awaiting: string(value(p.Awaiting)),
		Management: string(value(p.Management)), Group: value(p.Group), Person: value(p.User), Server: value(p.Server),
		BlockedBy: string(value(p.BlockedBy)), Query: value(p.Q), After: after[0], Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, limit, "devices", func(d store.DeviceRow) []string { return []string{d.Serial} })
	return ListDevices200JSONResponse{Devices: each(rows, r.renderDevice), NextCursor: next}, nil
}

// device reads a device as it is shown by itself.
func (r *rest) device(ctx context.Context, serial string) (Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return Device{}, err
	}
	row, err := r.DB.DeviceRow(ctx, serial)
	if err != nil {
		return Device{}, err
	}
	d := r.renderDevice(row)
	waits := renderWaits(row.Explain(r.Policy, r.DB.Now()))
	d.Waits = &waits
	return d, nil
}

// changed renders a device after a use case changed it.
func (r *rest) changed(ctx context.Context, d provision.Device, err error) (DeviceJSONResponse, error) {
	if err != nil {
		return DeviceJSONResponse{}, err
	}
	shown, err := r.device(ctx, d.Serial)
	return DeviceJSONResponse(shown), err
}

// GetDevice answers GET /v1/devices/{serial}.
func (r *rest) GetDevice(ctx context.Context, q GetDeviceRequestObject) (GetDeviceResponseObject, error) {
	d, err := r.device(ctx, q.Serial)
	return GetDevice200JSONResponse{DeviceJSONResponse(d)}, err
}

// RegisterDevice answers POST /v1/devices.
func (r *rest) RegisterDevice(ctx context.Context, q RegisterDeviceRequestObject) (RegisterDeviceResponseObject, error) {
	info := store.Information{Name: value(q.Body.Name), Model: value(q.Body.Model)}
	d, err := r.Intake.Register(ctx, actorOf(ctx), q.Body.Serial, info)
	shown, err := r.changed(ctx, d, err)
	if err != nil {
		return nil, err
	}
	at := "/v1/devices/" + d.Serial
	return RegisterDevice201JSONResponse{Body: Device(shown), Headers: RegisterDevice201ResponseHeaders{Location: &at}}, nil
}

// ExplainDevice answers GET /v1/devices/{serial}/explain.
func (r *rest) ExplainDevice(ctx context.Context, q ExplainDeviceRequestObject) (ExplainDeviceResponseObject, error) {
	d, err := r.device(ctx, q.Serial)
	if err != nil {
		return nil, err
	}
	waits := *d.Waits
	if ended := d.ReleasedAt != nil || d.Status == Status(provision.StatusWithdrawn); !ended { // or nothing is to come of it
		undelivered, err := r.DB.UndeliveredOf(ctx, d.Serial)
		if err != nil {
			return nil, err
		}
		waits = append(renderWaits(undelivered.Explain(r.DB.Now())), waits...)
	}
	if d.Status == Status(provision.StatusProvisioning) {
		items, err := r.DB.PlanItems(ctx, d.Serial)
		if err != nil {
			return nil, err
		}
		waits = append(waits, renderWaits(provision.ExplainItems(items))...)
	}
	return ExplainDevice200JSONResponse{Serial: d.Serial, Status: d.Status, Labels: d.Labels, BlockedBy: d.BlockedBy, Waits: waits}, nil
}

// GetDevicePlan answers GET /v1/devices/{serial}/plan.
func (r *rest) GetDevicePlan(ctx context.Context, q GetDevicePlanRequestObject) (GetDevicePlanResponseObject, error) {
	serial, err := provision.ParseSerial(q.Serial)
	if err != nil {
		return nil, err
	}
	d, err := r.DB.Device(ctx, serial)
	if err != nil {
		return nil, err
	}
	items, err := r.DB.PlanItems(ctx, serial)
	if err != nil {
		return nil, err
	}
	return GetDevicePlan200JSONResponse{
		Serial: serial, Epoch: d.Activation.Epoch, Current: d.PlanCurrent(), Items: each(items, r.renderPlanItem),
	}, nil
}

func (r *rest) renderPlanItem(it provision.PlanItem) PlanItem {
	item := PlanItem{
		Kind: string(it.Key.Kind), Name: it.Key.Name, Stage: Stage(it.Stage), State: PlanItemState(it.State),
		Version: it.Version, Identifier: it.Identifier, Attempt: it.Attempt, Detail: it.Detail,
		Groups: append([]string{}, it.Groups...), DependsOn: each(it.DependsOn, refOf), UpdatedAt: it.UpdatedAt,
	}
	if at := r.DB.RetryAt(it); !at.IsZero() {
		item.RetryAt = &at
	}
	return item
}

// GetDeviceTimeline answers GET /v1/devices/{serial}/timeline.
func (r *rest) GetDeviceTimeline(ctx context.Context, q GetDeviceTimelineRequestObject) (GetDeviceTimelineResponseObject, error) {
	serial, err := provision.ParseSerial(q.Serial)
	if err != nil {
		return nil, err
	}
	before, err := timelineKey(q.Params.Cursor, "timeline/"+serial)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	events, err := r.DB.Timeline(ctx, serial, before, limit+1)
	if err != nil {
		return nil, err
	}
	events, next := page(events, limit, "timeline/"+serial, func(e store.Event) []string {
		return []string{strconv.FormatInt(e.ID, 10)}
	})
	facts := make([]Fact, len(events))
	for i, e := range events {
		if facts[i], err = renderFact(e); err != nil {
			return nil, err
		}
	}
	return GetDeviceTimeline200JSONResponse{Facts: facts, NextCursor: next}, nil
}

func timelineKey(cursor *string, list string) (int64, error) {
	key, err := parseCursor(cursor, list, 1)
	if err != nil || key[0] == "" {
		return 0, err
	}
	before, err := strconv.ParseInt(key[0], 10, 64)
	if err != nil || before < 1 {
		return 0, faultf(codeCursorInvalid, "The cursor is not one that this list gave; begin without one.").at("cursor")
	}
	return before, nil
}

func renderFact(e store.Event) (Fact, error) {
	f := Fact{
		Id: e.ID, Kind: string(e.Kind), Epoch: e.Epoch, At: e.At, Actor: e.Actor, ActorName: given(e.ActorName),
		Source: string(e.Source), DeliveredAt: e.DeliveredAt,
	}
	if err := json.Unmarshal(e.Payload, &f.Payload); err != nil {
		return f, fmt.Errorf("reading the payload of event %d: %w", e.ID, err)
	}
	f.Payload["id"] = e.ID // recorded before it had one
	if reason, ok := f.Payload["reason"].(string); ok {
		f.Reason = &reason
	}
	return f, nil
}

// GetEnrollmentProfile answers GET /v1/devices/{serial}/enrollment-profile.
func (r *rest) GetEnrollmentProfile(ctx context.Context, q GetEnrollmentProfileRequestObject) (GetEnrollmentProfileResponseObject, error) {
	serial, err := provision.ParseSerial(q.Serial)
	if err != nil {
		return nil, err
	}
	if r.EnrollmentProfiles == nil {
		return nil, faultf(codeNotConfigured, "This server hands out no enrollment profiles; ask one with the role mdm.")
	}
	profile, err := r.EnrollmentProfiles.EnrollmentProfile(ctx, serial)
	if err != nil {
		return nil, err
	}
	disposition := fmt.Sprintf("attachment; filename=%q", serial+".mobileconfig")
	return GetEnrollmentProfile200ApplicationxAppleAspenConfigResponse{
		Body: bytes.NewReader(profile), ContentLength: int64(len(profile)),
		Headers: GetEnrollmentProfile200ResponseHeaders{ContentDisposition: &disposition},
	}, nil
}
