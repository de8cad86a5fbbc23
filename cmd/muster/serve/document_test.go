package serve_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/paper"
	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

// outsider serves a document over https, but not at once.
func outsider(t *testing.T, content []byte) (server *httptest.Server, refused *atomic.Int32) {
	t.Helper()
	refused = &atomic.Int32{}
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refused.Add(1) == 1 {
			http.NotFound(w, nil)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	return server, refused
}

func (s *site) running(d *sim.Device, service *serve.Service) {
	s.t.Helper()
	require.NoError(s.t, d.PowerOn(s.t.Context(), sent(service.URL()+"/enroll")))
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	s.t.Cleanup(func() { stop(); require.NoError(s.t, <-ran) })
}

// Over TLS, from the upload to the device and off it again; what can't be fetched at first is fetched later.
func TestDocumentsReachADeviceAndLeaveIt(t *testing.T) {
	s := newSite(t)
	service := s.withWorker("MUSTER_RETRY_AFTER=100ms,200ms,400ms", "MUSTER_POLL_FIRST=100ms")
	handbook, menu := paper.PDF("Handbook"), paper.PDF("Menu")
	server, tries := outsider(t, menu)
	s.roots.AddCert(server.Certificate())

	uploaded := s.send(service, "PUT", "/v1/documents/handbook/content?title=The%20handbook", "application/octet-stream", handbook)
	linked := s.rest(service, "PUT", "/v1/documents/menu", map[string]any{"media_url": server.URL + "/menu.pdf"})
	item := func(name string) map[string]any { return map[string]any{"kind": "document", "name": name} }
	s.rest(service, "PUT", "/v1/groups/readers", map[string]any{"items": []any{item("handbook"), item("menu")}})
	s.rest(service, "PUT", "/v1/groups/others", map[string]any{"items": []any{item("menu")}})
	assign := func(group string) {
		s.rest(service, "PUT", "/v1/devices/"+serial+"/assignment", map[string]any{"user": map[string]any{"name": "ANDREW", "email": "a@zylker.com"}, "groups": []any{group}})
	}
	assign("readers")
	d := s.device()
	s.running(d, service)
	s.until(serial, "it is Enrolled", func(d provision.Device) bool { return d.Status() == provision.StatusEnrolled })

	holds := func(document map[string]any, content []byte) {
		t.Helper()
		sum := sha256.Sum256(content)
		book := d.Snapshot().Book(document["identifier"].(string))
		require.Equal(t, sim.MediaState{ID: document["identifier"].(string), State: "Managed", Version: "1", Content: hex.EncodeToString(sum[:])}, book)
	}
	holds(uploaded, handbook)
	holds(linked, menu)
	require.EqualValues(t, 2, tries.Load())
	var statuses []string
	for _, e := range d.Log() {
		if e.RequestType == "InstallMedia" && e.Target == linked["identifier"] {
			statuses = append(statuses, e.Statuses()...)
		}
	}
	require.Equal(t, []string{"Error", "Acknowledged"}, statuses)
	require.Zero(t, sim.SentTwice(d.Log()))

	assign("others")
	s.until(serial, "it is Enrolled", func(d provision.Device) bool { return d.Status() == provision.StatusEnrolled })
	gone := func() bool { // "Enrolled" doesn't wait for it
		items, err := s.db.PlanItems(t.Context(), serial)
		return err == nil && slices.ContainsFunc(items, func(it provision.PlanItem) bool {
			return it.Key.Name == "handbook" && it.State == provision.Removed
		})
	}
	require.Eventually(t, gone, time.Minute, 20*time.Millisecond)
	require.Empty(t, d.Snapshot().Book(uploaded["identifier"].(string)))
	holds(linked, menu)
	require.Contains(t, s.logged(), "route=/documents")
	require.NotContains(t, s.logged(), "token=")
}
