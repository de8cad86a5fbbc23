package sim_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

var factory = sync.OnceValues(sim.NewFactory)

func made(c *sim.Config) {
	f, err := factory()
	if err != nil {
		panic(err)
	}
	c.Factory = f
}

// apple tells every device the same.
type apple struct{ sim.Activation }

func (a apple) Activate(string) (sim.Activation, bool) { return a.Activation, a.URL != "" }

// counter gives out enrollment profiles: it stands for a server that isn't ours.
type counter struct {
	t      *testing.T
	server *httptest.Server
	mu     sync.Mutex
	seen   []dict
	answer func(w http.ResponseWriter, n int, info dict)
}

func (p *peer) counter(answer func(w http.ResponseWriter, n int, info dict)) *counter {
	c := &counter{t: p.t, answer: answer}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	p.t.Cleanup(c.server.Close)
	return c
}

func (c *counter) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/pkcs7-signature" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	info, err := open(c.t, body)
	if err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	c.seen = append(c.seen, info)
	n := len(c.seen)
	c.mu.Unlock()
	c.answer(w, n, info)
}

// open reads a MachineInfo as a server would, by its own means.
func open(t *testing.T, message []byte) (dict, error) {
	t.Helper()
	signed, err := pkcs7.Parse(message)
	if err != nil {
		return nil, err
	}
	if err := signed.Verify(); err != nil {
		return nil, err
	}
	f, err := factory()
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(f.AnchorsPEM())
	anchor, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer := signed.GetOnlySigner()
	if err := anchor.CheckSignature(signer.SignatureAlgorithm, signer.RawTBSCertificate, signer.Signature); err != nil {
		return nil, err
	}
	if _, err := signer.Verify(x509.VerifyOptions{Roots: pool(anchor)}); err == nil {
		return nil, errors.New("the chain is better than Apple's")
	}
	if schema, ok := schemaflag.Schema(t); ok {
		for _, v := range schema.CheckMachineInfo(signed.Content) {
			t.Error(v)
		}
	}
	var info dict
	return info, plist.Unmarshal(signed.Content, &info)
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

func give(w http.ResponseWriter, profile []byte) {
	w.Header().Set("Content-Type", "application/x-apple-aspen-config")
	_, _ = w.Write(profile)
}

func forbid(w http.ResponseWriter, reason dict) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(reason)
}

func TestPowerOnEnrollsWhereAppleSays(t *testing.T) {
	p := newPeer(t)
	c := p.counter(func(w http.ResponseWriter, _ int, _ dict) { give(w, p.profile()) })
	d := p.device(made, func(c *sim.Config) { c.ProductName = "iPad13,4" })
	p.run(d)
	require.ErrorIs(t, d.PowerOn(t.Context(), apple{}), sim.ErrUnmanaged)
	require.NoError(t, d.PowerOn(t.Context(), apple{sim.Activation{URL: c.server.URL, Await: true, Supervised: true}}))
	s := d.Snapshot()
	require.True(t, s.Enrolled && s.AwaitingConfiguration && s.Supervised)
	require.Equal(t, []string{"Authenticate", "TokenUpdate"}, p.checkinsSeen())
	require.Equal(t, dict{
		"UDID": d.UDID(), "SERIAL": d.Serial(), "PRODUCT": "iPad13,4", "VERSION": "22B83", "OS_VERSION": "18.1",
		"SUPPLEMENTAL_BUILD_VERSION": "22B83", "LANGUAGE": "en", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": true, "SOFTWARE_UPDATE_DEVICE_ID": "iPad13_4",
	}, c.seen[0])
	require.ErrorIs(t, d.PowerOn(t.Context(), apple{}), sim.ErrEnrolled)

	saved, err := d.Save()
	require.NoError(t, err)
	again := p.device(made, func(c *sim.Config) { c.Serial, c.ProductName = d.Serial(), "iPad13,4" })
	require.NoError(t, again.Restore(saved))
	require.True(t, again.Snapshot().Supervised, "a restart doesn't change how it was set up")
	require.True(t, again.Snapshot().AwaitingConfiguration)

	d.Reset()
	require.False(t, d.Snapshot().Supervised)
	require.NoError(t, d.PowerOn(t.Context(), apple{sim.Activation{URL: c.server.URL}}))
	require.False(t, d.Snapshot().AwaitingConfiguration)
	require.Equal(t, 2, d.Snapshot().Epoch)
}

func TestOldAndOtherDevicesSayLess(t *testing.T) {
	p := newPeer(t)
	for name, tt := range map[string]struct {
		change func(*sim.Config)
		has    []string
		lacks  []string
	}{
		"old iPhone": {func(c *sim.Config) { c.OSVersion = "16.7.2" }, []string{"IMEI", "MEID"}, []string{"OS_VERSION", "MDM_CAN_REQUEST_SOFTWARE_UPDATE"}},
		"Mac":        {func(c *sim.Config) { c.ProductName, c.OSVersion = "Mac14,2", "14.2" }, []string{"OS_VERSION", "MDM_CAN_REQUEST_SOFTWARE_UPDATE"}, []string{"IMEI", "SOFTWARE_UPDATE_DEVICE_ID"}},
		"can't":      {func(c *sim.Config) { c.Faults.CannotUpdate = true }, []string{"OS_VERSION"}, []string{"MDM_CAN_REQUEST_SOFTWARE_UPDATE"}},
	} {
		message, err := p.device(made, tt.change).MachineInfo()
		require.NoError(t, err)
		signed, err := pkcs7.Parse(message)
		require.NoError(t, err)
		var info dict
		require.NoError(t, plist.Unmarshal(signed.Content, &info))
		for _, key := range tt.has {
			require.Contains(t, info, key, name)
		}
		for _, key := range tt.lacks {
			require.NotContains(t, info, key, name)
		}
	}
	_, err := p.device().MachineInfo()
	require.ErrorContains(t, err, "no factory")
}

func TestDeviceUpdatesItselfIfTheServerRequiresIt(t *testing.T) {
	p := newPeer(t)
	required := "18.3.1"
	c := p.counter(func(w http.ResponseWriter, _ int, info dict) {
		if info["OS_VERSION"] == required {
			give(w, p.profile())
			return
		}
		forbid(w, dict{"code": "com.apple.softwareupdate.required", "details": dict{"OSVersion": required}})
	})
	source := apple{sim.Activation{URL: c.server.URL}}
	d := p.device(made)
	require.NoError(t, d.PowerOn(t.Context(), source))
	require.Equal(t, "18.3.1", d.Snapshot().OSVersion)
	require.Len(t, c.seen, 2)
	require.NotEqual(t, c.seen[0]["VERSION"], c.seen[1]["VERSION"])
	d.Reset()
	require.Equal(t, "18.3.1", d.Snapshot().OSVersion, "erasing keeps it")
	saved, err := d.Save()
	require.NoError(t, err)
	again := p.device(func(c *sim.Config) { c.Serial = d.Serial() })
	require.NoError(t, again.Restore(saved))
	require.Equal(t, "18.3.1", again.Snapshot().OSVersion)

	require.ErrorIs(t, p.device(made, func(c *sim.Config) { c.Faults.CannotUpdate = true }).PowerOn(t.Context(), source), sim.ErrUpdate)
	required = "17.0"
	require.ErrorIs(t, p.device(made).PowerOn(t.Context(), source), sim.ErrUpdate, "it doesn't go back")
}

func TestServerThatWantsAnUpdateForEver(t *testing.T) {
	p := newPeer(t)
	versions := []string{"18.2", "18.3", "18.4", "18.5", "18.6"}
	c := p.counter(func(w http.ResponseWriter, n int, _ dict) {
		forbid(w, dict{"code": "com.apple.softwareupdate.required", "details": dict{"OSVersion": versions[n-1]}})
	})
	require.ErrorContains(t, p.device(made).PowerOn(t.Context(), apple{sim.Activation{URL: c.server.URL}}), "18.5")
}

func TestRefusalsEndAPowerOn(t *testing.T) {
	p := newPeer(t)
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		check  func(err error)
	}{
		"unrecognized": {
			func(w http.ResponseWriter) { forbid(w, dict{"code": "com.apple.unrecognized.device"}) },
			func(err error) { require.ErrorIs(t, err, sim.ErrUnrecognized) },
		},
		"unrecognized, as a property list": {
			func(w http.ResponseWriter) {
				w.WriteHeader(http.StatusForbidden)
				body, _ := plist.Marshal(dict{"code": "com.apple.unrecognized.device"})
				_, _ = w.Write(body)
			},
			func(err error) { require.ErrorIs(t, err, sim.ErrUnrecognized) },
		},
		"other 403": {
			func(w http.ResponseWriter) { forbid(w, dict{"code": "on_hold"}) },
			func(err error) {
				var refused *sim.HTTPError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, http.StatusForbidden, refused.Status)
			},
		},
		"a page": {
			func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "text/html")
				_, _ = w.Write(p.profile())
			},
			func(err error) { require.ErrorContains(t, err, "text/html") },
		},
		"a redirect": {
			func(w http.ResponseWriter) {
				w.Header().Set("Location", p.server.URL)
				w.WriteHeader(http.StatusFound)
			},
			func(err error) { require.ErrorContains(t, err, "302") },
		},
	} {
		t.Run(name, func(*testing.T) {
			c := p.counter(func(w http.ResponseWriter, _ int, _ dict) { tt.answer(w) })
			d := p.device(made)
			tt.check(d.PowerOn(t.Context(), apple{sim.Activation{URL: c.server.URL}}))
			require.False(t, d.Snapshot().Enrolled)
		})
	}
}

func TestPowerOnSitsOutTrouble(t *testing.T) {
	p := newPeer(t)
	c := p.counter(func(w http.ResponseWriter, n int, _ dict) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			give(w, p.profile())
		}
	})
	d := p.device(made, func(c *sim.Config) { c.Faults = sim.Faults{LoseRequest: 1, LoseAnswer: 1, Limit: 2} })
	d.SetOnline(false)
	done := make(chan error, 1)
	go func() { done <- d.PowerOn(t.Context(), apple{sim.Activation{URL: c.server.URL}}) }()
	d.SetOnline(true)
	require.NoError(t, <-done)
	require.Len(t, c.seen, 5, "two refused for now, two answers lost, one taken")

	broken := p.counter(func(w http.ResponseWriter, _ int, _ dict) { w.WriteHeader(http.StatusInternalServerError) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.device(made).PowerOn(ctx, apple{sim.Activation{URL: broken.server.URL}}), context.DeadlineExceeded)
}

func TestAnchorsOfTheDeviceProfileAreTrusted(t *testing.T) {
	p := newPeer(t)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { give(w, p.profile()) }))
	t.Cleanup(secure.Close)
	source := sim.Activation{URL: secure.URL}
	require.ErrorContains(t, p.device(made).PowerOn(t.Context(), apple{source}), "certificate")
	source.Anchors = [][]byte{secure.Certificate().Raw}
	require.NoError(t, p.device(made).PowerOn(t.Context(), apple{source}))
	source.Anchors = [][]byte{[]byte("none")}
	require.ErrorContains(t, p.device(made).PowerOn(t.Context(), apple{source}), "anchor_certs")
}

func TestRenewedIdentity(t *testing.T) {
	for name, silent := range map[string]bool{"authenticated anew": false, "just used": true} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			d := p.device(func(c *sim.Config) { c.SilentRenewal = silent })
			require.NoError(t, d.Enroll(t.Context(), p.profile()))
			p.run(d)
			require.Equal(t, "Acknowledged", p.send(d, uuid(1), "SecurityInfo", nil)["Status"])
			before, old := d.Snapshot(), identityOf(d)
			p.renewing.Store(true)
			p.enqueue(d, uuid(2), "InstallProfile", dict{"Payload": p.profile()})
			p.wake(d)
			eventually(t, "new identity", func() bool { return d.Snapshot().Identity != before.Identity })
			if silent {
				require.NotContains(t, p.checkinsSeen()[2:], "Authenticate")
				return // NanoMDM takes a new identity at an Authenticate only
			}
			eventually(t, "check-ins", func() bool {
				return slices.Equal(p.checkinsSeen(), []string{"Authenticate", "TokenUpdate", "Authenticate", "TokenUpdate"})
			})
			require.Equal(t, "Acknowledged", p.send(d, uuid(3), "SecurityInfo", nil)["Status"])
			after := d.Snapshot()
			require.Equal(t, before.Epoch, after.Epoch)
			require.Len(t, after.Profiles, 1)
			require.NotEqual(t, old, identityOf(d))

			saved, err := d.Save()
			require.NoError(t, err)
			again := p.device(func(c *sim.Config) { c.Serial = d.Serial() })
			require.NoError(t, again.Restore(saved))
			require.Equal(t, after.Identity, again.Snapshot().Identity)
		})
	}
}

func identityOf(d *sim.Device) string {
	cert, key := d.Identity()
	if cert == nil || key == nil {
		return ""
	}
	return cert.SerialNumber.String()
}
