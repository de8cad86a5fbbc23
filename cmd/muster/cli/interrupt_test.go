package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/cmd/muster/cli"
)

// office answers for one operation: with the given states, one after the other and then the last for ever, and notes what it
// was asked.
type office struct {
	mu     sync.Mutex
	states []client.Operation
	asked  []string
	looked func() // whenever somebody looks how far it is
	began  func() // whenever somebody begins to send something
}

func (o *office) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if o.began != nil {
		o.began()
	}
	_, _ = io.Copy(io.Discard, q.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, q.Method+" "+q.URL.Path)
	is := o.states[0]
	switch {
	case strings.HasSuffix(q.URL.Path, ":cancel"):
		is.State = client.OperationCancelled
	case len(o.states) > 1:
		o.states = o.states[1:]
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(is)
	if o.looked != nil && q.Method == http.MethodGet {
		o.looked()
	}
}

// open has the command line work on the office.
func (o *office) open(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	loggedOut(t)
	t.Setenv("MUSTER_URL", server.URL)
	t.Setenv("MUSTER_TOKEN", "mst_x")
}

func state(s client.OperationState) client.Operation {
	return client.Operation{Id: "imp_1", Kind: client.KindAssign, Import: true, State: s, File: &client.OperationFile{}}
}

func people(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "people.csv")
	require.NoError(t, os.WriteFile(path, []byte("Serial Number\n"), 0o600))
	return path
}

// What a dry run leaves behind would keep the same file from being imported.
func TestAnInterruptedDryRunForgetsTheFile(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	o := &office{states: []client.Operation{state(client.OperationChecking)}, looked: interrupt}
	o.open(t)
	var stderr bytes.Buffer
	code := cli.Main(ctx, []string{"import", people(t), "--dry-run"}, cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
	require.Equal(t, 1, code)
	require.Equal(t, "muster: interrupted; the file was forgotten\n", stderr.String())
	require.Equal(t, "POST /v1/operations/imp_1:cancel", o.asked[len(o.asked)-1])
}

func TestAnInterruptedImportSaysWhatBecomesOfIt(t *testing.T) {
	for at, says := range map[client.OperationState]string{
		client.OperationChecking: "muster: interrupted; the file is checked and kept: muster import apply imp_1 goes on with it\n",
		client.OperationApplying: "muster: interrupted; it goes on by itself: see muster operations show imp_1\n",
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		o := &office{states: []client.Operation{state(at)}, looked: interrupt}
		if at == client.OperationApplying {
			o.states = []client.Operation{state(client.OperationReady), state(at)}
		}
		o.open(t)
		var stderr bytes.Buffer
		code := cli.Main(ctx, []string{"import", people(t)}, cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		require.Equal(t, 1, code)
		require.Equal(t, says, stderr.String())
		require.NotContains(t, o.asked, "POST /v1/operations/imp_1:cancel")
	}
}

// A script mustn't take an operation for done that somebody paused or cancelled meanwhile.
func TestWhatOthersEndIsNoSuccess(t *testing.T) {
	paused := state(client.OperationApplying)
	paused.Paused = true
	cancelled := state(client.OperationCancelled)
	cancelled.FinishedAt = &cancelled.CreatedAt
	done := state(client.OperationDone)
	done.FinishedAt = &done.CreatedAt
	for _, c := range []struct {
		end  client.Operation
		args []string
		code int
	}{
		{paused, []string{"import", people(t)}, 1},
		{cancelled, []string{"import", people(t)}, 1},
		{done, []string{"import", people(t)}, 0},
		{paused, []string{"import", people(t), "--no-wait"}, 0},
		{cancelled, []string{"assign", "C07Q00000001", "C07Q00000002", "-g", "drivers"}, 1},
		{done, []string{"assign", "C07Q00000001", "C07Q00000002", "-g", "drivers"}, 0},
	} {
		o := &office{states: []client.Operation{state(client.OperationReady), state(client.OperationApplying), c.end}}
		o.open(t)
		code, out, errOut := muster(t, c.args...)
		require.Equal(t, c.code, code, "%v: %s%s", c.args, out, errOut)
	}
}

// A terminal that says nothing mustn't hold up who presses Ctrl-C.
func TestWaitingForTheStandardInputCanBeInterrupted(t *testing.T) {
	for _, c := range []struct {
		args  []string
		typed string
		says  string
	}{
		{[]string{"unassign", "-", "--yes"}, "C07Q00000001\n", "muster: reading the serial numbers: interrupted\n"},
		{[]string{"import", "-"}, "", "muster: interrupted\n"},
		{[]string{"people", "import", "-"}, "", "muster: interrupted\n"},
		{[]string{"apply", "-f", "-"}, "kind: group\n", "muster: interrupted\n"},
		{[]string{"directories", "put", "zylker", "--kind", "oidc", "--client-secret-file", "-"}, "s3", "muster: reading the client secret: interrupted\n"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		o := &office{states: []client.Operation{state(client.OperationDone)}}
		if c.typed == "" {
			o.began = interrupt
		}
		o.open(t)
		terminal, keyboard := io.Pipe()
		var stderr bytes.Buffer
		ended := make(chan int)
		go func() {
			ended <- cli.Main(ctx, c.args, cli.Streams{In: terminal, Out: io.Discard, Err: &stderr})
		}()
		if c.typed != "" {
			_, err := keyboard.Write([]byte(c.typed))
			require.NoError(t, err)
			interrupt()
		}
		select {
		case code := <-ended:
			require.Equal(t, 1, code)
			require.Equal(t, c.says, stderr.String())
		case <-time.After(10 * time.Second):
			require.Fail(t, "it waits for more", "%v", c.args)
		}
		_ = keyboard.Close()
		interrupt()
	}
}

// What is too large is known before an hour of uploading.
func TestAFileThatIsTooLargeIsNotSent(t *testing.T) {
	o := &office{states: []client.Operation{state(client.OperationDone)}}
	o.open(t)
	path := people(t)
	require.NoError(t, os.Truncate(path, intake.MaxImport+1))
	code, _, errOut := muster(t, "import", path)
	require.Equal(t, 1, code)
	require.Equal(t, "muster: "+path+": The file is larger than 1024 MiB.\n", errOut)
	require.Empty(t, o.asked)
}
