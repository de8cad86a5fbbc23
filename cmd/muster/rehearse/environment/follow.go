package environment

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// follow copies what is added to the logs in a folder, each line after the log's name, until ctx ends.
func follow(ctx context.Context, dir string, to io.Writer) {
	read := map[string]int64{}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, log := range logs {
			read[log] += copyLines(log, read[log], to)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// copyLines copies the whole lines of a file from an offset and returns their length. A file that became shorter was begun
// anew by a restart; its offset goes back.
func copyLines(file string, from int64, to io.Writer) int64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() < from {
		return -from
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0
	}
	added, _ := io.ReadAll(f)
	whole := bytes.LastIndexByte(added, '\n') + 1
	name := strings.TrimSuffix(filepath.Base(file), ".log")
	for line := range bytes.Lines(added[:whole]) {
		_, _ = io.WriteString(to, name+" | "+string(line))
	}
	return int64(whole)
}
