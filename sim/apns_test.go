package sim_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/cryptoutil"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

// request is a push made by hand.
type request struct {
	method, url, body string
	header            map[string]string
}

// rawPush sends one push by hand and returns status and reason.
func rawPush(t *testing.T, client *http.Client, q request) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), q.method, q.url, strings.NewReader(q.body))
	require.NoError(t, err)
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	require.NotEmpty(t, resp.Header.Get("apns-id"))
	var answer struct {
		Reason    string
		Timestamp int64
	}
	if resp.StatusCode != http.StatusOK {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	}
	require.Equal(t, resp.StatusCode == http.StatusGone, answer.Timestamp > 0)
	return resp.StatusCode, answer.Reason
}

func pairFor(t *testing.T, apns *sim.APNs, topic string) *tls.Certificate {
	t.Helper()
	cert, key, err := apns.IssuePushCertificate(topic)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	return &pair
}

func TestPushesThatAreRefused(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	other, err := sim.StartAPNs(t.Context(), sim.APNsConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	ours := pushClient(t, p.apns, pairFor(t, p.apns, topic))
	nobody := pushClient(t, p.apns, nil)
	stranger := pushClient(t, p.apns, pairFor(t, other, topic))
	neighbour := pushClient(t, p.apns, pairFor(t, p.apns, "com.apple.mgmt.other"))
	good, device, none := `{"mdm":"x"}`, "/3/device/"+tokenOf(t, p, d), "/3/device/"+strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		client             *http.Client
		method, path, body string
		header             map[string]string
		status             int
		reason             string
	}{
		"accepted":           {ours, "POST", device, good, nil, 200, ""},
		"topic repeated":     {ours, "POST", device, good, map[string]string{"apns-topic": topic, "apns-push-type": "mdm", "apns-priority": "10"}, 200, ""},
		"another path":       {ours, "POST", "/4/device/x", good, nil, 404, "BadPath"},
		"another method":     {ours, "GET", device, "", nil, 405, "MethodNotAllowed"},
		"no token":           {ours, "POST", "/3/device/", good, nil, 400, "MissingDeviceToken"},
		"no certificate":     {nobody, "POST", device, good, nil, 403, "MissingProviderToken"},
		"foreign":            {stranger, "POST", device, good, nil, 403, "BadCertificate"},
		"another's device":   {neighbour, "POST", device, good, nil, 400, "DeviceTokenNotForTopic"},
		"another's topic":    {ours, "POST", device, good, map[string]string{"apns-topic": "com.apple.mgmt.other"}, 400, "TopicDisallowed"},
		"bad id":             {ours, "POST", device, good, map[string]string{"apns-id": "7"}, 400, "BadMessageId"},
		"bad type":           {ours, "POST", device, good, map[string]string{"apns-push-type": "alert"}, 400, "InvalidPushType"},
		"bad priority":       {ours, "POST", device, good, map[string]string{"apns-priority": "11"}, 400, "BadPriority"},
		"bad expiration":     {ours, "POST", device, good, map[string]string{"apns-expiration": "soon"}, 400, "BadExpirationDate"},
		"no body":            {ours, "POST", device, "", nil, 400, "PayloadEmpty"},
		"no magic":           {ours, "POST", device, `{"aps":{}}`, nil, 400, "PayloadEmpty"},
		"too large":          {ours, "POST", device, `{"mdm":"` + strings.Repeat("x", 5000) + `"}`, nil, 413, "PayloadTooLarge"},
		"token is no hex":    {ours, "POST", "/3/device/xyz", good, nil, 400, "BadDeviceToken"},
		"token never issued": {ours, "POST", none, good, nil, 400, "BadDeviceToken"},
	} {
		t.Run(name, func(t *testing.T) {
			status, reason := rawPush(t, c.client, request{c.method, p.apns.URL() + c.path, c.body, c.header})
			require.Equal(t, c.status, status)
			require.Equal(t, c.reason, reason)
		})
	}
	counts := p.apns.Counts()
	require.Equal(t, 18, counts.Received)
	require.Equal(t, 2, counts.Accepted)
	require.Equal(t, 16, counts.Rejected)

	d.Reset()
	status, reason := rawPush(t, ours, request{"POST", p.apns.URL() + device, good, nil})
	require.Equal(t, 410, status)
	require.Equal(t, "Unregistered", reason)
}

func tokenOf(t *testing.T, p *peer, d *sim.Device) string {
	t.Helper()
	info, err := p.store.RetrievePushInfo(context.Background(), []string{d.UDID()})
	require.NoError(t, err)
	return hex.EncodeToString(info[d.UDID()].Token)
}

func TestPushForAnotherMagicWakesNobody(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	p.enqueue(d, uuid(1), "SecurityInfo", nil)
	status, _ := rawPush(t, pushClient(t, p.apns, pairFor(t, p.apns, topic)), request{"POST", p.apns.URL() + "/3/device/" + tokenOf(t, p, d), `{"mdm":"x"}`, nil})
	require.Equal(t, 200, status)
	require.Equal(t, 1, p.apns.Counts().Delivered)
	require.Empty(t, d.Log())
	p.wake(d)
	p.settled(uuid(1))
}

func TestPushesAreDroppedBySeed(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	p.apns.SetFaults(sim.PushFaults{Drop: 0.5})
	for range 40 {
		p.wake(d)
	}
	c := p.apns.Counts()
	require.Equal(t, 40, c.Accepted)
	require.Equal(t, 40, c.Dropped+c.Delivered)
	require.InDelta(t, 20, c.Dropped, 12)

	again := newPeer(t)
	same := again.enrolled()
	again.apns.SetFaults(sim.PushFaults{Drop: 0.5})
	for range 40 {
		again.wake(same)
	}
	require.Equal(t, c.Dropped, again.apns.Counts().Dropped, "the same seed loses the same pushes")
}

func TestPushLatency(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	p.apns.SetFaults(sim.PushFaults{Latency: sim.Span{Min: 50 * time.Millisecond, Max: 60 * time.Millisecond}})
	p.enqueue(d, uuid(1), "SecurityInfo", nil)
	start := time.Now()
	p.wake(d)
	p.settled(uuid(1))
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)

	p.apns.SetFaults(sim.PushFaults{Latency: sim.Span{Min: time.Hour}})
	p.wake(d)
	require.NoError(t, p.apns.Close(), "closing does not wait for what is under way")
	require.NoError(t, p.apns.Close())
}

func TestPushServiceSpeaksHTTP2Only(t *testing.T) {
	apns, err := sim.StartAPNs(t.Context(), sim.APNsConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, apns.Close()) })
	client := pushClient(t, apns, nil)
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	_, err = client.Post(apns.URL()+"/3/device/x", "application/json", strings.NewReader("{}"))
	require.Error(t, err)
}

func TestAuthorityOutlivesTheService(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	first, err := sim.StartAPNs(ctx, sim.APNsConfig{})
	require.NoError(t, err)
	pair := pairFor(t, first, topic)
	certPEM, keyPEM, err := first.Authority()
	require.NoError(t, err)
	cancel() // ends the service, too
	second, err := sim.StartAPNs(t.Context(), sim.APNsConfig{AuthorityCertPEM: certPEM, AuthorityKeyPEM: keyPEM})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, second.Close()) })
	status, reason := rawPush(t, pushClient(t, second, pair), request{"POST", second.URL() + "/3/device/" + strings.Repeat("ab", 32), `{"mdm":"x"}`, nil})
	require.Equal(t, 400, status)
	require.Equal(t, "BadDeviceToken", reason)
	_, err = sim.StartAPNs(t.Context(), sim.APNsConfig{AuthorityCertPEM: certPEM})
	require.Error(t, err)
}

func TestPushCertificateNamesItsTopic(t *testing.T) {
	apns, err := sim.StartAPNs(t.Context(), sim.APNsConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, apns.Close()) })
	cert, _, err := apns.IssuePushCertificate(topic)
	require.NoError(t, err)
	named, err := cryptoutil.TopicFromPEMCert(cert)
	require.NoError(t, err)
	require.Equal(t, topic, named)
	_, _, err = apns.IssuePushCertificate("org.example")
	require.ErrorContains(t, err, "com.apple.mgmt")
}
