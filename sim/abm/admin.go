package abm

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// State is what the portal's first page shows.
type State struct {
	Name        string    `json:"name"`
	Now         time.Time `json:"now"`
	TermsSigned bool      `json:"terms_signed"`
	Devices     int       `json:"devices"` // without the released ones
	Servers     []Server  `json:"servers"`
	Running     []string  `json:"running_activities"`
	Quirks      Quirks    `json:"quirks"`
	Faults      []Fault   `json:"faults"`
	Counts      Counts    `json:"counts"`
}

// State describes the organisation.
func (o *Organization) State() State {
	s := State{Name: o.cfg.Name, Servers: o.Servers(), Running: o.Running(), Counts: o.Counts()}
	defer o.lock()()
	s.Now, s.TermsSigned, s.Quirks, s.Faults = o.now(), !o.unsigned, o.quirks, o.faults.list
	for _, d := range o.order {
		if d.Released.IsZero() {
			s.Devices++
		}
	}
	return s
}

// order is the body of any POST to the admin endpoint; each verb reads the fields that it needs.
type order struct {
	Server   string   `json:"server"`
	Name     string   `json:"name"`
	Disown   bool     `json:"disown"`
	Serials  []string `json:"serials"`
	Devices  []Spec   `json:"devices"`
	Count    int      `json:"count"`
	Silent   bool     `json:"silent"`
	Signed   bool     `json:"signed"`
	Access   Access   `json:"access"`
	Seconds  float64  `json:"seconds"`
	Faults   []Fault  `json:"faults"`
	Quirks   Quirks   `json:"quirks"`
	Activity string   `json:"activity"`
	Client   string   `json:"client_id"`
	Revoked  bool     `json:"revoked"`
	ReadOnly bool     `json:"read_only"`
}

var errNothing = errors.New("nothing of that id")

func found(ok bool) error {
	if ok {
		return nil
	}
	return errNothing
}

// admin is the portal as an HTTP endpoint. It knows no passwords: serve it on a loopback address only.
func (o *Organization) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, "application/json", o.State()) })
	mux.HandleFunc("GET /admin/devices", o.adminDevices)
	mux.HandleFunc("GET /admin/devices/{serial}", func(w http.ResponseWriter, r *http.Request) {
		d, ok := o.Device(r.PathValue("serial"))
		reply(w, d, found(ok))
	})
	mux.HandleFunc("GET /admin/devices/{serial}/profile", func(w http.ResponseWriter, r *http.Request) {
		p, ok := o.ProfileFor(r.PathValue("serial"))
		reply(w, p, found(ok))
	})
	mux.HandleFunc("POST /admin/servers/{server}/token", o.adminToken)
	for verb, do := range o.verbs() {
		mux.HandleFunc("POST /admin/"+verb, func(w http.ResponseWriter, r *http.Request) {
			var body order
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
				http.Error(w, "the body is not the JSON of an order: "+err.Error(), http.StatusBadRequest)
				return
			}
			answer, err := do(body)
			reply(w, answer, err)
		})
	}
	return mux
}

// verbs are the portal's doings by the last part of their paths.
func (o *Organization) verbs() map[string]func(order) (any, error) {
	done := func(err error) (any, error) { return struct{}{}, err }
	return map[string]func(order) (any, error){
		"servers": func(b order) (any, error) { return o.AddServer(Server{Name: b.Name, Disown: b.Disown}), nil },
		"add":     o.adminAdd,
		"move":    func(b order) (any, error) { return done(o.Move(b.Server, b.Serials...)) },
		"remove":  func(b order) (any, error) { return done(o.Unassign(b.Serials...)) },
		"release": func(b order) (any, error) {
			if b.Silent {
				return done(o.Vanish(b.Serials...))
			}
			return done(o.Release(b.Serials...))
		},
		"activate": func(b order) (any, error) {
			for _, serial := range b.Serials {
				if _, ok := o.Activate(serial); !ok {
					return nil, errNothing
				}
			}
			return done(nil)
		},
		"terms":           func(b order) (any, error) { o.SignTerms(b.Signed); return done(nil) },
		"access":          func(b order) (any, error) { return done(o.SetAccess(b.Server, b.Access)) },
		"expire-token":    func(b order) (any, error) { return done(o.ExpireToken(b.Server)) },
		"revoke-token":    func(b order) (any, error) { return done(o.RevokeToken(b.Server)) },
		"renew-consumer":  func(b order) (any, error) { return done(o.RenewConsumer(b.Server)) },
		"expire-sessions": func(b order) (any, error) { return done(o.ExpireSessions(b.Server)) },
		"accounts":        func(b order) (any, error) { return o.AddAccount(b.ReadOnly) },
		"expire-access":   func(b order) (any, error) { return done(found(o.ExpireAccess(b.Client, b.Revoked))) },
		"stop-activity":   func(b order) (any, error) { return done(found(o.StopActivity(b.Activity))) },
		"jump": func(b order) (any, error) {
			o.Jump(time.Duration(b.Seconds * float64(time.Second)))
			return done(nil)
		},
		"faults": func(b order) (any, error) { o.SetFaults(b.Faults...); return done(nil) },
		"quirks": func(b order) (any, error) { o.SetQuirks(b.Quirks); return done(nil) },
	}
}

const maxCount = 1_000_000

// adminAdd adds the devices that are described, and count new ones.
func (o *Organization) adminAdd(b order) (any, error) {
	if b.Count < 0 || b.Count > maxCount {
		return nil, errors.New("count has to be from 0 to a million")
	}
	if err := o.Add(b.Server, b.Devices...); err != nil {
		return nil, err
	}
	serials, err := o.AddNew(b.Server, b.Count)
	for _, spec := range b.Devices {
		serials = append(serials, spec.filled(o.chance).Serial)
	}
	return map[string][]string{"serials": serials}, err
}

// adminToken takes the certificate as the body and answers the token file.
func (o *Organization) adminToken(w http.ResponseWriter, r *http.Request) {
	certificate, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the certificate could not be read", http.StatusBadRequest)
		return
	}
	file, err := o.IssueToken(r.PathValue("server"), certificate)
	if err != nil {
		reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/pkcs7-mime")
	w.Header().Set("Content-Disposition", `attachment; filename="server_token.p7m"`)
	_, _ = w.Write(file) //nolint:gosec // a file to download; and a client that has gone away is nothing to handle
}

// adminDevices lists devices, the newest first: ?server= one server's ("*", the default, is all), ?limit= how many.
func (o *Organization) adminDevices(w http.ResponseWriter, r *http.Request) {
	serverID, limit := "*", defaultPage
	if r.URL.Query().Has("server") {
		serverID = r.URL.Query().Get("server")
	}
	if given := r.URL.Query().Get("limit"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 {
			http.Error(w, "the limit is not a number above 0", http.StatusBadRequest)
			return
		}
		limit = n
	}
	writeJSON(w, "application/json", map[string][]Device{"devices": o.Devices(serverID, limit)})
}

func reply(w http.ResponseWriter, answer any, err error) {
	switch {
	case err == nil:
		writeJSON(w, "application/json", answer)
	case errors.Is(err, ErrUnknownServer), errors.Is(err, ErrUnknownDevice), errors.Is(err, errNothing):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrReleased), errors.Is(err, ErrTaken):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}
