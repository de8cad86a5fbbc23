package api

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// ListReservations answers GET /v1/reservations.
func (r *rest) ListReservations(ctx context.Context, q ListReservationsRequestObject) (ListReservationsResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "reservations", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Reservations(ctx, store.ReservationFilter{Overdue: value(q.Params.Overdue), After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "reservations", func(v store.Reservation) []string { return []string{v.Serial} })
	return ListReservations200JSONResponse{Reservations: each(list, r.renderReservation), NextCursor: next}, nil
}

func (r *rest) renderReservation(v store.Reservation) Reservation {
	now := r.DB.Now()
	return Reservation{
		Serial: v.Serial, ReservedAt: v.ReservedAt, AgeDays: int(now.Sub(v.ReservedAt).Hours() / 24), ExpectedBy: v.ExpectedBy,
		Overdue: v.ExpectedBy != nil && !now.Before(*v.ExpectedBy), Assignment: renderAssignment(v.DeviceRow),
		PlannedAssignment: renderPlanned(v.DeviceRow),
	}
}

func renderPlanned(row store.DeviceRow) *PlannedAssignment {
	a := row.Planned
	if a == nil {
		return nil
	}
	return &PlannedAssignment{
		User: renderRef(row.Person(a.UserID)), Technician: renderRef(row.Person(a.TechnicianID)), Groups: append([]string{}, a.Groups...),
		OwnedBy: OwnedBy(a.OwnedBy), EffectiveAt: *a.EffectiveAt, ReturnBy: a.ReturnBy, Version: row.PlannedMark.By,
	}
}

func renderReview(row store.DeviceRow) *SignInReview {
	if !row.InReview() {
		return nil
	}
	v := &SignInReview{Reserved: renderRef(row.User), Since: row.Review.At, Until: row.Review.Until}
	if s := row.Review.SignedIn; s != nil {
		v.SignedIn = renderRef(row.Person(s.UserID))
	}
	return v
}

func renderDeprovision(d provision.Device) *Deprovisioning {
	if !d.Deprovisioned() {
		return nil
	}
	return &Deprovisioning{Reason: d.Deprovision.Reason, By: d.DeprovisionBy, At: d.Deprovision.At, Done: !d.Active()}
}

// ReviewDevice answers POST /v1/devices/{serial}:review.
func (r *rest) ReviewDevice(ctx context.Context, q ReviewDeviceRequestObject) (ReviewDeviceResponseObject, error) {
	d, err := r.Intake.Review(ctx, actorOf(ctx), q.Serial, provision.ReviewChoice(q.Body.Choice))
	shown, err := r.changed(ctx, d, err)
	return ReviewDevice200JSONResponse{shown}, err
}
