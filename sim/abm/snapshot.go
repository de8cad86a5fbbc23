package abm

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// snapshot is an organisation on disk. Faults and counts are a run's own and stay out of it.
type snapshot struct {
	Offset     time.Duration `json:"offset"`
	Quirks     Quirks        `json:"quirks"`
	Unsigned   bool          `json:"unsigned"`
	Seq        int64         `json:"seq"`
	Generated  int           `json:"generated"`
	Started    int           `json:"started"`
	Secret     []byte        `json:"secret"`
	Servers    []savedServer `json:"servers"`
	Devices    []*device     `json:"devices"`
	Profiles   []*profile    `json:"profiles"`
	Accounts   []*account    `json:"accounts"`
	Activities []*activity   `json:"activities"`
}

type savedServer struct {
	Server  *server `json:"server"`
	Revoked bool    `json:"revoked"`
}

// Save writes the whole organisation, tokens and sealed secrets included, so that Load goes on where it was: cursors,
// sessions and access tokens that were handed out stay good.
func (o *Organization) Save(w io.Writer) error {
	defer o.lock()()
	s := snapshot{
		Offset: o.offset, Quirks: o.quirks, Unsigned: o.unsigned, Seq: o.seq, Generated: o.generated, Started: o.started,
		Secret: o.secret, Devices: o.order,
	}
	for _, one := range o.ranking {
		s.Servers = append(s.Servers, savedServer{Server: one, Revoked: one.Token.Revoked})
	}
	for _, p := range o.profiles {
		s.Profiles = append(s.Profiles, p)
	}
	for _, a := range o.accounts {
		s.Accounts = append(s.Accounts, a)
	}
	for _, a := range o.activities {
		s.Activities = append(s.Activities, a)
	}
	if err := json.NewEncoder(w).Encode(s); err != nil { //nolint:gosec // secrets of a virtual Apple; Save says that they are in the file
		return fmt.Errorf("saving the virtual Apple Business Manager: %w", err)
	}
	return nil
}

// Load makes an organisation of what Save wrote; of cfg, the quirks are overruled by the saved ones.
func Load(cfg Config, r io.Reader) (*Organization, error) {
	var s snapshot
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return nil, fmt.Errorf("loading the virtual Apple Business Manager: %w", err)
	}
	o := New(cfg)
	o.offset, o.quirks, o.unsigned, o.seq, o.secret = s.Offset, s.Quirks, s.Unsigned, s.Seq, s.Secret
	o.generated, o.started, o.order = s.Generated, s.Started, s.Devices
	for _, saved := range s.Servers {
		one := saved.Server
		if one == nil {
			return nil, errors.New("loading the virtual Apple Business Manager: a server is missing")
		}
		one.Token.Revoked, one.nonces = saved.Revoked, map[string]time.Time{}
		o.servers[one.ID] = one
		o.ranking = append(o.ranking, one)
	}
	for _, d := range s.Devices {
		o.devices[d.Serial] = d
	}
	for _, p := range s.Profiles {
		o.profiles[p.UUID] = p
	}
	o.loadLists()
	o.loadActivities(s.Activities)
	return o, o.loadAccounts(s.Accounts)
}

// loadLists puts the devices of each server into their order again.
func (o *Organization) loadLists() {
	for _, d := range o.order {
		if s := o.servers[d.ServerID]; s != nil {
			s.list = append(s.list, entry{seq: d.Seq, dev: d})
			s.live++
		}
	}
	for _, s := range o.ranking {
		slices.SortFunc(s.list, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	}
}

func (o *Organization) loadActivities(activities []*activity) {
	for _, a := range activities {
		o.activities[a.ID] = a
		if !a.Ended {
			o.running = append(o.running, a)
		}
	}
	slices.SortFunc(o.running, func(a, b *activity) int { return a.Ends.Compare(b.Ends) })
}

func (o *Organization) loadAccounts(accounts []*account) error {
	for _, a := range accounts {
		parsed, err := x509.ParsePKIXPublicKey(a.Public)
		if err != nil {
			return fmt.Errorf("loading the key of account %s: %w", a.ClientID, err)
		}
		key, ok := parsed.(*ecdsa.PublicKey)
		if !ok {
			return fmt.Errorf("loading the key of account %s: not an elliptic curve key", a.ClientID)
		}
		a.key = key
		o.accounts[a.ClientID] = a
	}
	return nil
}
