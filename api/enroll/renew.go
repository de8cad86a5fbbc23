package enroll

import (
	"context"
	"fmt"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/store"
)

// Renew has an enrolled device get a new certificate before its own ends, and reports whether it was sent what it takes: the
// enrollment profile that it has, with a challenge that renews. Apple lets such a profile be installed over itself by MDM as
// long as server and topic stay the same. A device that has yet to answer to an earlier one is only pushed.
func (e *Enroller) Renew(ctx context.Context, serial string) (sent bool, err error) {
	topic, err := e.topics.Topic(ctx)
	if err != nil {
		return false, fmt.Errorf("renewing the certificate of %s: %w", serial, err)
	}
	return e.devices.Renew(ctx, serial, func(epoch int) (store.Renewal, error) {
		p := identity.Profile{Serial: serial, Topic: topic, Challenge: e.config.StaticChallenge, Renews: epoch}
		var r store.Renewal
		if p.Challenge == "" {
			var hash identity.ChallengeHash
			p.Challenge, hash = identity.DrawChallenge()
			r.Challenge = &hash
		}
		var err error
		r.Profile, err = e.encode(p)
		return r, err
	})
}
