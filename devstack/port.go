package devstack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Servers get ports below the ephemeral range: a port the kernel hands out for ":0" can be handed out again, to anybody,
// between our asking and the server's listening; Temporal's own inner ports are got that way.
const (
	lowestPort    = 15000
	ephemeralPort = 32768 // Linux's default first ephemeral port; other systems begin higher
)

// startAttempts is how often a server is started anew when its port was taken in the last moment.
const startAttempts = 5

// freePorts finds n different free loopback ports; the preferred ones are taken where they are free.
func freePorts(n int, preferred []int) ([]int, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	ports := make([]int, 0, n)
	for len(ports) < n {
		wish := 0
		if len(ports) < len(preferred) {
			wish = preferred[len(ports)]
		}
		l, err := listenLow(wish)
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func listenLow(wish int) (net.Listener, error) {
	if wish > 0 {
		if l, err := listen(wish); err == nil {
			return l, nil
		}
	}
	top := firstEphemeral()
	for range 500 {
		if l, err := listen(lowestPort + rand.IntN(top-lowestPort)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port on 127.0.0.1 between %d and %d", lowestPort, top)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", loopback(port)) //nolint:noctx // it never blocks
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// firstEphemeral reads where the kernel's ephemeral range begins. A range that leaves no room below falls back to the default:
// then a collision is possible, and starting again mends it.
func firstEphemeral() int {
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return ephemeralPort
	}
	fields := strings.Fields(string(raw))
	if len(fields) == 0 {
		return ephemeralPort
	}
	first, err := strconv.Atoi(fields[0])
	if err != nil || first < lowestPort+1000 {
		return ephemeralPort
	}
	return min(first, ephemeralPort)
}

// rememberPorts keeps a server's ports in its folder, so that its addresses stay the same from run to run.
func rememberPorts(dir, kind string, ports []int) error {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = strconv.Itoa(p)
	}
	return os.WriteFile(filepath.Join(dir, kind+".ports"), []byte(strings.Join(words, " ")+"\n"), 0o600)
}

func rememberedPorts(dir, kind string) []int {
	raw, _ := os.ReadFile(filepath.Join(dir, kind+".ports"))
	var ports []int
	for _, word := range strings.Fields(string(raw)) {
		port, err := strconv.Atoi(word)
		if err != nil {
			return nil
		}
		ports = append(ports, port)
	}
	return ports
}
