package api

import (
	"time"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// rest implements the operations of the contract: each reads its input, makes one call and renders the answer.
type rest struct {
	Config
}

var _ StrictServerInterface = (*rest)(nil)

// value is what a pointer holds, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// given is a pointer to what is not the zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// when is the time of a mark; nil when nothing set it.
func when(m provision.Mark) *time.Time {
	if m.By == 0 {
		return nil
	}
	return &m.At
}

func (r *rest) renderDevice(row store.DeviceRow) Device {
	d := Device{
		Serial: row.Serial, Status: Status(row.Status()), Labels: row.Labels(), Management: Management(row.Management()),
		Awaiting:  each(row.Awaiting(), func(label string) Awaiting { return Awaiting(label) }),
		BlockedBy: given(BlockedBy(row.BlockedBy())), Epoch: row.Activation.Epoch, Assignment: renderAssignment(row),
		Name: row.Name, Model: row.Model, ProductName: row.ProductName, OsVersion: row.OSVersion, BuildVersion: row.BuildVersion,
		Server: row.ABM.Server, AbmState: given(AbmState(row.ABM.State)), Release: r.renderRelease(row.Device),
		ActivatedAt: when(row.Activation.Activated), ReleasedAt: when(row.Released),
		CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, Version: row.Version,
	}
	if row.Status() == provision.StatusEnrolled {
		d.EnrolledAt = when(row.Enrolled.Mark)
	}
	d.PlannedAssignment, d.Review, d.Deprovision, d.ExpectedBy = renderPlanned(row), renderReview(row), renderDeprovision(row.Device), row.ExpectedBy
	d.Overdue = given(row.Overdue(r.DB.Now()))
	if row.UnassignWanted() {
		d.UnassignAskedAt = when(row.UnassignAsked)
	}
	return d
}

func renderAssignment(r store.DeviceRow) *Assignment {
	a := r.Assignment
	if a == nil {
		return nil
	}
	return &Assignment{
		User: renderRef(r.User), Technician: renderRef(r.Technician), Groups: append([]string{}, a.Groups...),
		OwnedBy: OwnedBy(a.OwnedBy), Complete: a.Complete(), Source: string(r.AssignedFrom), Actor: r.AssignedBy,
		At: r.AssignmentMark.At, Version: intake.AssignmentVersion(r.Device), ReturnBy: a.ReturnBy,
		Origin: &Origin{Source: string(r.AssignedFrom), Actor: r.AssignedBy, Operation: given(r.AssignedIn), Line: given(r.AssignedLine)},
	}
}

func renderRef(p *provision.Person) *PersonRef {
	if p == nil {
		return nil
	}
	return &PersonRef{Id: p.ID, Name: p.Name, Domain: p.Domain, Email: p.Email}
}

func renderWaits(waits []provision.Wait) []Wait {
	return each(waits, func(w provision.Wait) Wait {
		return Wait{For: w.For, Since: w.Since, Who: w.Who, Until: w.Until}
	})
}
