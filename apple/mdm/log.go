package mdm

import (
	"context"
	"log/slog"

	"github.com/micromdm/nanolib/log"
)

// Logger has NanoMDM write to l. It reports every message of every device, so its Info becomes Debug: what changed is
// said by our own lines. A nil l drops everything.
func Logger(l *slog.Logger) log.Logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return logger{l}
}

type logger struct{ to *slog.Logger }

const levelTrace = slog.LevelDebug - 4

// Info logs at debug level.
func (l logger) Info(keyvals ...any) { l.log(slog.LevelDebug, keyvals) }

// Debug logs below debug level.
func (l logger) Debug(keyvals ...any) { l.log(levelTrace, keyvals) }

// With returns a logger that adds the pairs to each line.
func (l logger) With(keyvals ...any) log.Logger {
	if !l.to.Enabled(context.Background(), slog.LevelDebug) {
		return l
	}
	return logger{l.to.With(keyvals...)}
}

func (l logger) log(level slog.Level, keyvals []any) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	rest := make([]any, 0, len(keyvals)+2)
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == "msg" {
			rest = append(rest, "step", keyvals[i+1])
			continue
		}
		rest = append(rest, keyvals[i], keyvals[i+1])
	}
	l.to.Log(context.Background(), level, "nanomdm", rest...)
}
