package directories

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// freeAddress finds a loopback address on which nobody uses Samba's ports. All of 127/8 is loopback on Linux.
func freeAddress() (string, error) {
	var last error
	for range 20 {
		address := fmt.Sprintf("127.77.%d.%d", 1+rand.IntN(254), 1+rand.IntN(254))
		if last = portsFree(address); last == nil {
			return address, nil
		}
	}
	return "", fmt.Errorf("finding a loopback address for Samba: %w", last)
}

func portsFree(address string) error {
	for _, port := range sambaPorts {
		l, err := net.Listen("tcp", net.JoinHostPort(address, port)) //nolint:noctx // it never blocks
		if err != nil {
			return err
		}
		_ = l.Close()
	}
	return nil
}
