package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/muster-mdm/muster/devstack"
)

// lastListen is what the last run was told to listen on, and where it did. The virtual devices' enrollment profiles lead
// there, so the next run listens there, too, if it can.
type lastListen struct{ wanted, taken string }

func readListen(file string) (lastListen, error) {
	kept, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return lastListen{}, nil
	}
	if err != nil {
		return lastListen{}, fmt.Errorf("reading the address of the last run: %w", err)
	}
	wanted, taken, _ := strings.Cut(strings.TrimSpace(string(kept)), "\n")
	return lastListen{wanted, taken}, nil
}

func (l lastListen) keep(file string) error {
	if err := os.WriteFile(file, []byte(l.wanted+"\n"+l.taken+"\n"), 0o600); err != nil {
		return fmt.Errorf("keeping the address: %w", err)
	}
	return nil
}

// chooseAddress is that of the last run, unless --listen asks for another than then.
func (st *stack) chooseAddress(o options, progress devstack.Progress) error {
	last, err := readListen(st.path("listen"))
	if err != nil {
		return err
	}
	candidates := []string{o.listen}
	if last.taken != "" && (!o.listenGiven || o.listen == last.wanted) {
		candidates = []string{last.taken, o.listen}
	}
	if st.listen, err = freeAddress(candidates, progress); err != nil {
		return err
	}
	return lastListen{wanted: o.listen, taken: st.listen}.keep(st.path("listen"))
}

// freeAddress is the first of the candidates where nobody listens, or else a free port beside the last.
func freeAddress(candidates []string, progress devstack.Progress) (string, error) {
	for _, candidate := range candidates {
		if address, ok := free(candidate); ok {
			return address, nil
		}
	}
	wanted := candidates[len(candidates)-1]
	host, port, err := net.SplitHostPort(wanted)
	if err != nil {
		return "", fmt.Errorf("--listen %q is not host:port: %w", wanted, err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0")) //nolint:noctx // closed at once
	if err != nil {
		return "", fmt.Errorf("finding a free port on %s: %w", host, err)
	}
	progress(fmt.Sprintf("Port %s is in use; Muster takes %s.", port, l.Addr()))
	return l.Addr().String(), l.Close()
}

// free tells whether one can listen there, and where that is: port 0 becomes a free one.
func free(address string) (string, bool) {
	l, err := net.Listen("tcp", address) //nolint:noctx // closed at once
	if err != nil {
		return "", false
	}
	if strings.HasSuffix(address, ":0") {
		address = l.Addr().String()
	}
	return address, l.Close() == nil
}
