package directories

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/muster-mdm/muster/devstack"
)

// furnish fills a new folder with a domain. Making one takes some ten seconds, so the first is kept and copied from then on.
func furnish(ctx context.Context, found programs, dir string, progress devstack.Progress) (domain, error) {
	kept, err := keptDomain(found["samba"])
	if err != nil {
		return domain{}, err
	}
	d, err := copyDomain(kept, dir)
	if err == nil {
		return d, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return d, err
	}
	if progress != nil {
		progress("Making a domain for Samba; this takes some seconds, once.")
	}
	if d, err = makeDomain(ctx, found, dir); err != nil {
		return d, fmt.Errorf("making a domain: %w", err)
	}
	if err := os.Rename(dir, kept); err != nil {
		return d, nil //nolint:nilerr // another process was faster: its domain is as good, and ours is here
	}
	return copyDomain(kept, dir)
}

// keptDomain names the folder of the domain that this recipe makes with this Samba, for this user.
func keptDomain(samba string) (string, error) {
	info, err := os.Stat(samba)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, sambaSettings, "folder", "address")
	fmt.Fprintln(h, info.Size(), info.ModTime())
	fmt.Fprintln(h, recipe("", ""), accountsScript)
	name := "muster-samba-domain-" + strconv.Itoa(os.Geteuid()) + "-" + hex.EncodeToString(h.Sum(nil)[:6])
	return filepath.Join(os.TempDir(), name), nil
}

// copyDomain copies a domain that was kept. The temporary folder is everybody's, so what anybody else could have put there is refused.
func copyDomain(kept, dir string) (domain, error) {
	info, err := os.Lstat(kept)
	if err != nil {
		return domain{}, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != os.Geteuid() || info.Mode().Perm() != 0o700 {
		return domain{}, fmt.Errorf("%s should be a private folder of ours, and isn't: remove it", kept)
	}
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		return domain{}, fmt.Errorf("copying the domain in %s: %w", kept, err)
	}
	d := domain{dir: dir}
	raw, err := os.ReadFile(d.passwordFile())
	d.password = string(raw)
	return d, err
}
