package devstack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrInUse says that another running Muster owns the folder.
var ErrInUse = errors.New("the folder is in use")

// held keeps the locks of this process reachable. Whoever forgets the server that a lock belongs to would lose it at the next
// garbage collection, which closes files that nobody refers to, while the server goes on.
var held sync.Map

// claimed is a folder's lock while it is held.
type claimed struct{ file *os.File }

// Close gives the lock back.
func (c *claimed) Close() error {
	held.Delete(c)
	return c.file.Close()
}

// claim takes the folder's lock for one kind of server. The kernel gives it back when this process ends, however it ends, so
// a server found running below a claimed folder is an orphan.
func claim(dir, kind string) (*claimed, error) {
	f, err := os.OpenFile(filepath.Join(dir, kind+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claiming %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		owner, _ := io.ReadAll(io.LimitReader(f, 20))
		return nil, fmt.Errorf("%w: process %s already runs %s in %s; stop it first", ErrInUse, strings.TrimSpace(string(owner)), kind, dir)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // only for the sentence above
	}
	c := &claimed{f}
	held.Store(c, struct{}{})
	return c, nil
}

// tail returns the last n lines of a file, looking at its last 64 KiB only.
func tail(file string, n int) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 64 << 10
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	raw, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

const throwAwayPrefix = "muster-stack-"

// ThrowAway makes a folder for a server that nobody wants to keep, claimed for that kind of server until release removes it.
// Folders whose owners were killed are swept up on the way.
func ThrowAway(kind string) (dir string, release func(), err error) {
	if dir, err = throwAwayDir(); err != nil {
		return "", nil, err
	}
	lock, err := claim(dir, kind)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}, nil
}

// throwAwayDir makes such a folder without a claim.
func throwAwayDir() (string, error) {
	sweep(os.TempDir(), time.Now().Add(-time.Hour))
	dir, err := os.MkdirTemp("", throwAwayPrefix)
	if err != nil {
		return "", fmt.Errorf("making a throw-away folder: %w", err)
	}
	return dir, nil
}

// sweep removes throw-away folders older than the moment given which no process claims. Younger ones are left alone: their
// owner may not have claimed them yet.
func sweep(parent string, before time.Time) {
	old, _ := filepath.Glob(filepath.Join(parent, throwAwayPrefix+"*"))
	for _, dir := range old {
		if info, err := os.Stat(dir); err != nil || info.ModTime().After(before) {
			continue
		}
		if abandoned(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

func abandoned(dir string) bool {
	claims, _ := filepath.Glob(filepath.Join(dir, "*.lock"))
	for _, file := range claims {
		lock, err := claim(dir, strings.TrimSuffix(filepath.Base(file), ".lock"))
		if err != nil {
			return false
		}
		_ = lock.Close()
	}
	return true
}
