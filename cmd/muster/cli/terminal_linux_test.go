package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/cli"
)

// terminal is a pseudo-terminal, and all that was written to it.
type terminal struct {
	screen   *os.File
	keyboard *os.File
	mu       sync.Mutex
	shown    bytes.Buffer
}

func newTerminal(t *testing.T, columns uint16) *terminal {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	control := func(request uintptr, argument unsafe.Pointer) {
		_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(argument))
		require.Zero(t, failed)
	}
	var unlocked, number int32
	control(syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked))
	control(syscall.TIOCGPTN, unsafe.Pointer(&number))
	control(syscall.TIOCSWINSZ, unsafe.Pointer(&[4]uint16{24, columns}))
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	it := &terminal{screen: screen, keyboard: keyboard}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(it, keyboard)
	}()
	t.Cleanup(func() {
		_, _ = keyboard.WriteString("\n") // whom Ctrl-C left behind reads on
		_ = screen.Close()
		<-read
		_ = keyboard.Close()
	})
	return it
}

// Write takes down what is shown.
func (m *terminal) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown.Write(p)
}

func (m *terminal) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown.String()
}

func (m *terminal) shows(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(m.String(), text) }, 10*time.Second, time.Millisecond, "%s", text)
}

// asks is a Muster that wants everything confirmed.
func asks(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusPreconditionRequired)
		_ = json.NewEncoder(w).Encode(client.Problem{
			Code: "confirmation_required", Detail: "This concerns 2 devices.", Confirmation: &client.Confirmation{Token: "cnf_1", Devices: 2},
		})
	}))
	t.Cleanup(server.Close)
	loggedOut(t)
	t.Setenv("MUSTER_URL", server.URL)
	t.Setenv("MUSTER_TOKEN", "mst_x")
}

// Whoever has second thoughts at the question presses Ctrl-C.
func TestTheQuestionBeforeWhatCanNotBeUndoneCanBeInterrupted(t *testing.T) {
	asks(t)
	screen := newTerminal(t, 80)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- cli.Main(ctx, []string{"devices", "release", "C07Q00000001", "C07Q00000002", "--reason", "end_of_life"},
			cli.Streams{In: screen.screen, Out: io.Discard, Err: screen.screen})
	}()
	screen.shows(t, "Type the number of devices to go on: ")
	interrupt()
	require.Equal(t, 1, <-ended)
	screen.shows(t, "muster: interrupted; nothing was done")
}

// A token isn't shown while it is typed, and the terminal shows again what is typed after Ctrl-C.
func TestALoginCanBeInterrupted(t *testing.T) {
	asks(t)
	t.Setenv("MUSTER_TOKEN", "")
	screen := newTerminal(t, 80)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- cli.Main(ctx, []string{"login"}, cli.Streams{In: screen.screen, Out: io.Discard, Err: screen.screen})
	}()
	screen.shows(t, "Token: ")
	require.Eventually(t, func() bool { return !echoes(t, screen.screen) }, 10*time.Second, time.Millisecond)
	interrupt()
	require.Equal(t, 1, <-ended)
	screen.shows(t, "muster: reading the token: interrupted")
	require.True(t, echoes(t, screen.screen))
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	var is syscall.Termios
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&is)))
	require.Zero(t, failed)
	return is.Lflag&syscall.ECHO != 0
}

// A line that wraps can't be written over: on a narrow terminal it is cut.
func TestProgressFitsTheTerminal(t *testing.T) {
	done := state(client.OperationDone)
	done.FinishedAt = &done.CreatedAt
	o := &office{states: []client.Operation{state(client.OperationChecking), state(client.OperationReady), state(client.OperationApplying), done}}
	o.open(t)
	t.Setenv("TERM", "xterm")
	screen := newTerminal(t, 20)
	code := cli.Main(t.Context(), []string{"import", people(t)}, cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: screen.screen})
	require.Equal(t, 0, code)
	screen.shows(t, "\r\x1b[K[..................\r\x1b[K")
	require.NotContains(t, screen.String(), "applying")

	t.Setenv("TERM", "dumb")
	o.states = []client.Operation{state(client.OperationChecking), state(client.OperationReady), state(client.OperationApplying), done}
	screen = newTerminal(t, 80)
	require.Equal(t, 0, cli.Main(t.Context(), []string{"import", people(t)}, cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: screen.screen}))
	require.Empty(t, screen.String())
}
