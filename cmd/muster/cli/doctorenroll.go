package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/store"
)

// warnBefore is shorter where devices have less time to renew.
func warnBefore(s settings.Serve) time.Duration {
	validity := s.IdentityValidity
	if validity == 0 {
		validity = identity.DefaultValidity
	}
	if lead := min(s.IdentityRenewBefore, validity/2); lead > 0 {
		return min(identityWarning, lead/2)
	}
	return identityWarning
}

func days(d time.Duration) string {
	if d < 2*24*time.Hour {
		return d.String()
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// examineEnrolling tells whether devices that are switched on can be told from others.
func examineEnrolling(ctx context.Context, db *store.DB, s settings.Serve) error {
	if s.EnrollInsecureMachineInfo {
		return errors.New("anybody can enroll as any device that is known here: MUSTER_ENROLL_INSECURE_MACHINE_INFO is set")
	}
	machines, err := serve.Machines(s.Enrolling)
	if err != nil || machines != nil {
		return err
	}
	const many = 1000
	servers, err := db.ABMServers(ctx, store.Page{Limit: many})
	if err != nil || !slices.ContainsFunc(servers, func(s store.ABMServer) bool { return s.Health != store.Unlinked }) {
		return err
	}
	return errors.New("devices are listed by Apple Business Manager, but none can enroll when it is switched on: MUSTER_ENROLL_ANCHORS_FILE isn't set")
}
