package worker

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/store"
)

// ABMConfig says where Apple Business Manager is and how it is asked; the zero ABMConfig is Apple's own.
type ABMConfig struct {
	activities.ABMConfig
	// URL, BusinessURL and TokenURL are another Apple, for rehearsals: the device assignment API, the Business API, and where
	// that gives access tokens.
	URL, BusinessURL, TokenURL string
	// Transport carries the requests; default http.DefaultTransport.
	Transport http.RoundTripper
}

// schoolAccount begins the client id of an API account of Apple School Manager.
const schoolAccount = "SCHOOLAPI."

// abmClients makes what talks to Apple for servers, and keeps it as long as its secrets stay, because sessions and access
// tokens live in it.
type abmClients struct {
	config ABMConfig
	now    func() time.Time
	mu     sync.Mutex
	dep    map[string]kept[activities.DEP]
	abm    map[string]kept[activities.Business]
}

// kept is a client and what it was made from.
type kept[C any] struct {
	from   [sha256.Size]byte
	client C
}

func newABMClients(c ABMConfig, now func() time.Time) *abmClients {
	return &abmClients{config: c, now: now, dep: map[string]kept[activities.DEP]{}, abm: map[string]kept[activities.Business]{}}
}

// connect implements [activities.ABM.Connect].
func (c *abmClients) connect(s store.ABMSecrets) (activities.DEP, activities.Business, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var d activities.DEP
	var b activities.Business
	var err error
	if s.Token != nil {
		if d, err = remember(c.dep, s.Server.Name, s.Token, func() (activities.DEP, error) { return c.newDEP(s.Token) }); err != nil {
			return nil, nil, err
		}
	}
	if s.BusinessKey != nil {
		from := fmt.Appendf(nil, "%s %s %s", s.Server.BusinessClient, s.Server.BusinessKey, s.BusinessKey)
		if b, err = remember(c.abm, s.Server.Name, from, func() (activities.Business, error) { return c.newBusiness(s) }); err != nil {
			return nil, nil, err
		}
	}
	return d, b, nil
}

func remember[C any](all map[string]kept[C], name string, secret []byte, create func() (C, error)) (C, error) {
	from := sha256.Sum256(secret)
	if known, ok := all[name]; ok && known.from == from {
		return known.client, nil
	}
	client, err := create()
	if err == nil {
		all[name] = kept[C]{from, client}
	}
	return client, err
}

func (c *abmClients) newDEP(secret json.RawMessage) (activities.DEP, error) {
	var token dep.Token
	if err := json.Unmarshal(secret, &token); err != nil {
		return nil, fmt.Errorf("reading a stored server token: %w", err)
	}
	client := dep.New(dep.Config{BaseURL: c.config.URL, Transport: c.config.Transport, Token: token})
	return activities.PatientDEP(client, c.now), nil
}

func (c *abmClients) newBusiness(s store.ABMSecrets) (activities.Business, error) {
	client, err := abm.New(abm.Config{
		BaseURL: c.config.BusinessURL, TokenURL: c.config.TokenURL, Transport: c.config.Transport,
		School:  strings.HasPrefix(s.Server.BusinessClient, schoolAccount),
		Account: abm.Account{ClientID: s.Server.BusinessClient, KeyID: s.Server.BusinessKey, PrivateKeyPEM: s.BusinessKey},
	})
	if err != nil {
		return nil, err
	}
	return activities.PatientBusiness(client, c.now), nil
}

// newABM returns the activities on a store.
func newABM(db *store.DB, c ABMConfig) *activities.ABM {
	return &activities.ABM{
		Servers: db, List: db, Whereabouts: db, Duties: db, Profiles: db, Connect: newABMClients(c, db.Now).connect, Now: db.Now,
		Config: c.Complete(),
	}
}
