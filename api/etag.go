package api

import (
	"strconv"
	"strings"

	"github.com/muster-mdm/muster/store"
)

// etag is a version as a strong ETag (RFC 9110, 8.8.3).
func etag(version int64) *string {
	tag := `"` + strconv.FormatInt(version, 10) + `"`
	return &tag
}

// conditionOf reads If-Match and If-None-Match. ETags that we never gave match nothing; weak ones never match
// (RFC 9110, 13.1.1).
func conditionOf(ifMatch *string, absent bool) (store.Condition, error) {
	c := store.Condition{Absent: absent}
	if ifMatch == nil {
		return c, nil
	}
	c.Given = true
	if strings.TrimSpace(*ifMatch) == "*" {
		c.Any = true
		return c, nil
	}
	for part := range strings.SplitSeq(*ifMatch, ",") {
		tag := strings.TrimSpace(part)
		opaque, weak := strings.CutPrefix(tag, "W/")
		if len(opaque) < 2 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' || strings.Contains(opaque[1:len(opaque)-1], `"`) {
			return c, faultf(codeInvalidParameter, "If-Match must be \"*\" or ETags in double quotes.").at("If-Match")
		}
		version, err := strconv.ParseInt(opaque[1:len(opaque)-1], 10, 64)
		if err == nil && !weak {
			c.Versions = append(c.Versions, version)
		}
	}
	return c, nil
}
