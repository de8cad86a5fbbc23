package directories

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDomainIsCopiedFromAPrivateFolderOnly(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "kept")
	_, err := copyDomain(kept, filepath.Join(t.TempDir(), "copy"))
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.Mkdir(kept, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(kept, "private"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(kept, "private", "sam.ldb"), []byte("accounts"), 0o600))
	require.NoError(t, os.WriteFile(domain{dir: kept}.passwordFile(), []byte("secret"), 0o600))
	copied := filepath.Join(t.TempDir(), "copy")
	d, err := copyDomain(kept, copied)
	require.NoError(t, err)
	require.Equal(t, domain{dir: copied, password: "secret"}, d)
	raw, err := os.ReadFile(filepath.Join(copied, "private", "sam.ldb"))
	require.NoError(t, err)
	require.Equal(t, "accounts", string(raw))

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(kept, link))
	_, err = copyDomain(link, filepath.Join(t.TempDir(), "copy"))
	require.ErrorContains(t, err, "isn't: remove it")
	require.NoError(t, os.Chmod(kept, 0o755))
	_, err = copyDomain(kept, filepath.Join(t.TempDir(), "copy"))
	require.ErrorContains(t, err, "isn't: remove it")
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chmod(kept, 0o700))
		require.NoError(t, os.Chown(kept, 65534, 65534))
		_, err = copyDomain(kept, filepath.Join(t.TempDir(), "copy"))
		require.ErrorContains(t, err, "isn't: remove it")
	}
}

func TestKeptDomainIsThatOfTheRecipe(t *testing.T) {
	samba := filepath.Join(t.TempDir(), "samba")
	require.NoError(t, os.WriteFile(samba, []byte("4.17"), 0o700))
	one, err := keptDomain(samba)
	require.NoError(t, err)
	same, err := keptDomain(samba)
	require.NoError(t, err)
	require.Equal(t, one, same)
	require.NoError(t, os.WriteFile(samba, []byte("4.18.0"), 0o700))
	other, err := keptDomain(samba)
	require.NoError(t, err)
	require.NotEqual(t, one, other)
}

func TestInterpreterIsTheScriptsOwn(t *testing.T) {
	script := filepath.Join(t.TempDir(), "samba-tool")
	for text, want := range map[string]string{"#! /usr/bin/python3\nimport x": "/usr/bin/python3", "#!/opt/py": "/opt/py", "import x\n": "", "": ""} {
		require.NoError(t, os.WriteFile(script, []byte(text), 0o700))
		got, err := interpreter(script)
		require.Equal(t, want, got, "%v", err)
		require.Equal(t, want == "", err != nil)
	}
}
