package e2e

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/logtest"
)

// The script is a file of its own because continuous integration runs it, too.
//
//go:embed install_curl.sh
var installCurl string

// curl is all that the quickstart's blocks call beyond what every system has, Muster's own program and what it builds with.
var curl = devstack.Need{Programs: []string{"curl"}, What: "curl", Script: installCurl, ScriptFile: "cmd/muster/e2e/install_curl.sh"}

// What the quickstart has people type works as it stands there, from the second section to the one that breaks things.
func TestTheQuickstartsBlocksRun(t *testing.T) {
	script := quickstart(t)
	_, err := devstack.FindPrograms(t.Context(), curl, func(sentence string) { t.Log(sentence) })
	require.NoError(t, err)
	folder := t.TempDir()
	url := runDev(t, folder)
	script = strings.Replace(script, "MUSTER=http://127.0.0.1:8080", "MUSTER="+url, 1)
	awaitVolunteer(t, folder, url)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	shell.Dir = folder
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, says := range []string{`"status":"Enrolled"`, "reservation:  1", "C07Q853LG9RM", "waits for a case"} {
		require.Contains(t, string(out), says)
	}
}

var block = regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n")

// quickstart is all that its blocks say, but for those that start and stop everything.
func quickstart(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "quickstart.md"))
	require.NoError(t, err)
	_, body, begun := strings.Cut(string(page), "\n## 2. ")
	body, _, ended := strings.Cut(body, "\n## 8. ")
	require.True(t, begun && ended)
	var script []string
	for _, m := range block.FindAllStringSubmatch(body, -1) {
		script = append(script, m[1])
	}
	require.Greater(t, len(script), 8)
	return strings.Join(script, "\n")
}

// runDev runs muster dev in a folder, with .bin as make run leaves it, and returns the API's address.
func runDev(t *testing.T, folder string) (url string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin, err := filepath.Abs(filepath.Join("..", "..", "..", ".bin"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(folder, ".bin"), 0o700))
	muster := filepath.Join(folder, ".bin", "muster")
	require.NoError(t, os.WriteFile(muster, fmt.Appendf(nil, "#!/bin/sh\n%s=yes exec %q \"$@\"\n", asMuster, self), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(bin, "temporal"), filepath.Join(folder, ".bin", "temporal")))
	// muster dev looks for Temporal below the module's root.
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Join(root, "go.mod"), filepath.Join(folder, "go.mod")))
	dev := exec.CommandContext(t.Context(), muster, "dev", "--plain", "--devices", "9", "--listen", "127.0.0.1:0")
	dev.Dir = folder
	dev.Cancel = func() error { return dev.Process.Signal(syscall.SIGTERM) }
	dev.WaitDelay = time.Minute
	said := &logtest.Log{}
	dev.Stdout, dev.Stderr = said, said
	require.NoError(t, dev.Start())
	ended := make(chan struct{})
	go func() { _ = dev.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = dev.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Log(said.String())
		}
	})
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("muster dev ended: %s", said)
		default:
		}
		up := strings.Contains(said.String(), "Muster is up")
		if up {
			_, after, _ := strings.Cut(said.String(), "Muster is up")
			url = address.FindString(after)
		}
		return url != ""
	}, patience, 100*time.Millisecond, "muster dev did not start")
	return url
}

// awaitVolunteer waits for the device that the quickstart looks for.
func awaitVolunteer(t *testing.T, folder, url string) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(folder, ".dev", "token"))
	require.NoError(t, err)
	api, err := client.NewClient(url, client.WithToken(strings.TrimSpace(string(token))))
	require.NoError(t, err)
	awaiting, managed := client.AwaitingUserAssignment, client.Managed
	require.Eventually(t, func() bool {
		res, err := api.ListDevices(t.Context(), &client.ListDevicesParams{Awaiting: &awaiting, Management: &managed})
		if err != nil || res.StatusCode != http.StatusOK {
			return false
		}
		defer func() { _ = res.Body.Close() }()
		var list client.DeviceList
		return json.NewDecoder(res.Body).Decode(&list) == nil && len(list.Devices) > 0
	}, patience, 200*time.Millisecond, "no device waits for an assignment")
}
