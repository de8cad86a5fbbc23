// Package intake holds the use cases behind REST, console, CSV and check-in: each is one transaction that turns what
// somebody did into facts.
package intake

import (
	"fmt"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Settings are the organisation's choices that use cases go by.
type Settings struct {
	// AssignmentRequirement says what completes an assignment: [provision.RequireUser] (default) or
	// [provision.RequireUserOrG].
	AssignmentRequirement string
	// UnassignAtReenrollment takes user and groups from a device that enrolls anew, as one that changes hands.
	UnassignAtReenrollment bool
}

// Intake carries out use cases. Its methods are safe for concurrent use; their errors are [provision.Error] where people
// can do something about them.
type Intake struct {
	db       *store.DB
	settings Settings
}

// New returns an intake on the store. It fails when a setting has no known value.
func New(db *store.DB, s Settings) (*Intake, error) {
	switch s.AssignmentRequirement {
	case "":
		s.AssignmentRequirement = provision.RequireUser
	case provision.RequireUser, provision.RequireUserOrG:
	default:
		return nil, fmt.Errorf("assignment_requirement %q is neither %s nor %s", s.AssignmentRequirement,
			provision.RequireUser, provision.RequireUserOrG)
	}
	return &Intake{db: db, settings: s}, nil
}

// Actor is who does something. Only its ID and Source become part of facts; Name is for messages and logs.
type Actor struct {
	ID     string
	Name   string
	Source provision.Source
}

// fact begins a fact by this actor.
func (a Actor) fact(kind provision.Kind) provision.Fact {
	return provision.Fact{Kind: kind, Actor: a.ID, Source: a.Source}
}
