package intake

import (
	"strings"
	"time"

	"github.com/muster-mdm/muster/provision"
)

// ParseDuration reads a time such as 5m or 36h, as settings write them. It fails with [provision.Invalid] and the field.
func ParseDuration(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, provision.Errorf(provision.Invalid, "%q must be a time such as 5m or 24h.", field).At(field)
	}
	return d, nil
}

// FormatDuration is the inverse of [ParseDuration], without the zeros that Go appends.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
