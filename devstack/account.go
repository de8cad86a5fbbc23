package devstack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the unprivileged user a server runs as when we are root: PostgreSQL refuses to be root.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged returns the account for a new cluster; nil means that we are not root and need no other.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return accountOf(u)
		}
	}
	return nil, errors.New(`PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody"; create one with: useradd --system postgres`)
}

func accountOf(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the uid of %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the gid of %s: %w", u.Username, err)
	}
	return &account{name: u.Username, uid: uint32(uid), gid: uint32(gid)}, nil
}

// ownerOf returns the account that owns an existing cluster: PostgreSQL starts a data folder only for its owner.
func ownerOf(pgdata string) (*account, error) {
	info, err := os.Stat(pgdata)
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("%s does not say who owns it", pgdata)
	}
	a := &account{name: strconv.Itoa(int(stat.Uid)), uid: stat.Uid, gid: stat.Gid}
	if u, err := user.LookupId(a.name); err == nil {
		a.name = u.Username
	}
	switch me := os.Geteuid(); {
	case int(a.uid) == me:
		return nil, nil
	case me == 0:
		return a, nil
	default:
		return nil, fmt.Errorf("%s belongs to the user %q; start as that user or as root, or remove the folder", pgdata, a.name)
	}
}

// mayTraverse reports whether the account can pass through a folder.
func (a *account) mayTraverse(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	switch mode := info.Mode().Perm(); {
	case stat.Uid == a.uid:
		return mode&0o100 != 0
	case stat.Gid == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// reaches reports whether the account can pass through every folder above dir.
func (a *account) reaches(dir string) bool {
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		if !a.mayTraverse(parent) {
			return false
		}
		if parent == filepath.Dir(parent) {
			return true
		}
	}
}

// home is the folder in which a cluster of dir keeps its data: dir itself, opened for passing through, where the account can
// get there; else a folder below fallback whose name is derived from dir, so that the next run finds it again. We never change
// the permissions of folders above dir: they are somebody's home.
func (a *account) home(dir, fallback string) (string, error) {
	if a == nil {
		return dir, nil
	}
	if !a.reaches(dir) {
		sum := sha256.Sum256([]byte(dir))
		dir = filepath.Join(fallback, "dev-"+hex.EncodeToString(sum[:4]))
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // another user must pass through
			return "", fmt.Errorf("making a folder that the user %q can reach: %w", a.name, err)
		}
		if !a.reaches(dir) {
			return "", fmt.Errorf("the user %q can reach neither this folder nor %s, so PostgreSQL cannot run as root's helper; start as another user than root", a.name, fallback)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, info.Mode().Perm()|0o011); err != nil {
		return "", fmt.Errorf("letting the user %q into %s: %w", a.name, dir, err)
	}
	return dir, nil
}
