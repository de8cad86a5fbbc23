package serve_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// A virtual Apple is trusted by its own CA; Apple's by the system's.
func TestWhereAppleBusinessManagerIs(t *testing.T) {
	c, err := serve.ABMConfig(settings.Serve{}, "https://muster.example")
	require.NoError(t, err)
	require.Equal(t, "https://muster.example/enroll", c.Addresses.Enroll)
	require.Empty(t, c.URL)
	require.Nil(t, c.Transport)

	apple := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(apple.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: apple.Certificate().Raw}), 0o600))
	c, err = serve.ABMConfig(settings.Serve{
		ABMURL: apple.URL, ABMBusinessURL: apple.URL, ABMTokenURL: apple.URL, ABMCAFile: file, ABMMissingAfter: time.Hour,
	}, "https://muster.example")
	require.NoError(t, err)
	require.Equal(t, [3]string{apple.URL, apple.URL, apple.URL}, [3]string{c.URL, c.BusinessURL, c.TokenURL})
	require.Equal(t, time.Hour, c.MissingAfter)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, apple.URL, nil)
	require.NoError(t, err)
	answer, err := c.Transport.RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusTeapot, answer.StatusCode)
	c.Transport.(*http.Transport).CloseIdleConnections()

	require.NoError(t, os.WriteFile(file, []byte("nothing"), 0o600))
	_, err = serve.ABMConfig(settings.Serve{ABMCAFile: file}, "x")
	require.ErrorContains(t, err, "holds no certificate")
	_, err = serve.ABMConfig(settings.Serve{ABMCAFile: file + ".gone"}, "x")
	require.ErrorContains(t, err, "CA certificates of Apple Business Manager")
}
