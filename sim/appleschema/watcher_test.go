package appleschema_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/appleschema"
)

const (
	checkinMedia = "application/x-apple-aspen-mdm-checkin"
	answerMedia  = "application/x-apple-aspen-mdm; charset=UTF-8"
)

// server answers an Idle message with one command, and everything else with nothing.
func server(t *testing.T, seen *[][]byte, command []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*seen = append(*seen, raw)
		if bytes.Contains(raw, []byte("Idle")) {
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(command)
		}
	})
}

func talk(t *testing.T, client *http.Client, url, media string, raw []byte) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(raw))
	require.NoError(t, err)
	r.Header.Set("Content-Type", media)
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer
}

func TestWatcherSeesBothEnds(t *testing.T) {
	fetch := body(t, command("Fetch", dict{"Questions": []any{"Color", "Taste"}}))
	messages := []struct {
		media string
		raw   []byte
	}{
		{checkinMedia, body(t, dict{"MessageType": "Hello", "UDID": "u", "Extra": "x"})},
		{answerMedia, body(t, dict{"Status": "Idle", "UDID": "u"})},
		{answerMedia, body(t, dict{"Status": "Acknowledged", "UDID": "u", "CommandUUID": "c"})},
		{answerMedia, body(t, dict{"Status": "Acknowledged", "UDID": "u", "CommandUUID": "never seen"})},
		{"text/plain", []byte("passes by")},
	}
	for _, atServer := range []bool{true, false} {
		w := appleschema.NewWatcher(own(t))
		var seen [][]byte
		handler, client := server(t, &seen, fetch), &http.Client{Transport: http.DefaultTransport}
		if atServer {
			handler = w.Handler(handler)
		} else {
			client.Transport = w.Transport(client.Transport)
		}
		s := httptest.NewServer(handler)
		for i, m := range messages {
			answer := talk(t, client, s.URL, m.media, m.raw)
			require.Equal(t, m.raw, seen[i], "nothing is changed on its way")
			require.Equal(t, bytes.Contains(m.raw, []byte("Idle")), len(answer) > 0)
		}
		s.Close()
		require.Equal(t, map[string]int{"check-in Hello": 1, "idle": 1, "command Fetch": 1, "answer Fetch": 1}, w.Seen())
		require.Equal(t, []string{
			"Extra: unknown key",
			`Command.Questions[1]: "Taste" is not one of the values allowed`,
			"Answers: required key is missing",
		}, problems(w.Violations()))
		require.Equal(t, "check-in Hello: Extra: unknown key", w.Violations()[0].String())
	}
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func TestWatcherPassesFailures(t *testing.T) {
	w := appleschema.NewWatcher(own(t))
	r := httptest.NewRequest(http.MethodPut, "/", nil)
	r.Header.Set("Content-Type", checkinMedia)
	resp, err := w.Transport(broken{}).RoundTrip(r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Nil(t, resp)
}
