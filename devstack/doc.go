// Package devstack runs the real servers Muster stands on, a private PostgreSQL cluster and Temporal's development
// server, for `muster dev`, rehearsals, benches and tests.
//
// Every server listens on loopback only, keeps all it writes in one folder, and dies with the process that started it:
//
//	Find… ──▶ Start… ──▶ ready ──▶ Stop (or Kill) ──▶ Done is closed, Err is nil
//	                       └─────▶ ends by itself ──▶ Done is closed, Err says how, LogTail says why
//
// On Linux the kernel itself ends the servers when their parent is killed. Elsewhere a server can outlive a parent that was
// killed with SIGKILL; the next start on the same folder recognises such an orphan and ends it first.
package devstack

import "fmt"

// Progress receives sentences for people while something takes its time; nil is silence.
type Progress func(sentence string)

func (p Progress) say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}
