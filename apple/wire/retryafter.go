package wire

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter is how long an answer asks to wait (RFC 9110, section 10.2.3), 0 if it doesn't. A date is taken by the
// clock of the answer, if it tells: ours may be wrong.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	given := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(given, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return Seconds(seconds)
	}
	until, err := http.ParseTime(given)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return max(until.Sub(now), 0)
}

// Seconds are as many seconds, or the longest duration there is.
func Seconds(n uint64) time.Duration {
	const most = math.MaxInt64 / uint64(time.Second)
	return time.Duration(min(n, most)) * time.Second
}
