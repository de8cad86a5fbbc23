package browsertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The package with the browser alone is taken where there is one.
func TestInstallScript(t *testing.T) {
	for known, browser := range map[string]string{"chromium-headless-shell": "chromium-headless-shell", "nothing": "chromium"} {
		bin := t.TempDir()
		calls := filepath.Join(bin, "calls")
		for name, script := range map[string]string{
			"apt-get":   `echo "$*" >>"` + calls + `"`,
			"apt-cache": `[ "$2" = ` + known + ` ]`,
		} {
			require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", installScript)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		said, err := os.ReadFile(calls)
		require.NoError(t, err)
		require.Equal(t, "-o DPkg::Lock::Timeout=300 update\n-o DPkg::Lock::Timeout=300 install -y --no-install-recommends "+browser+" fonts-dejavu-core\n", string(said))
	}
}
