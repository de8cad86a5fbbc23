package api

import (
	"strconv"
	"strings"

	"github.com/muster-mdm/muster/provision"
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

// editParams are the parameters that say how a thing of the catalog is put.
type editParams struct {
	ifMatch *string
	absent  bool
	dryRun  *bool
	assume  *[]string
}

// editOf reads how a thing is put: under what condition, and whether it is only tried.
func editOf(p editParams) (store.Edit, error) {
	condition, err := conditionOf(p.ifMatch, p.absent)
	how := store.Edit{If: condition}
	switch {
	case err != nil:
		return how, err
	case value(p.dryRun):
		how.DryRun = &store.DryRun{}
	case p.assume != nil:
		return how, faultf(codeInvalidParameter, "assume is for dry runs only.").at("assume")
	}
	for _, text := range value(p.assume) {
		a, err := assumedOf(text)
		if err != nil {
			return how, err
		}
		how.DryRun.Assume = append(how.DryRun.Assume, a)
	}
	return how, nil
}

// assumedOf reads kind/name or kind/name/identifier; no name has a slash.
func assumedOf(text string) (store.Assumed, error) {
	const parts = 3
	part := strings.SplitN(text, "/", parts)
	if len(part) == 1 {
		return store.Assumed{}, faultf(codeInvalidParameter, "%.100q names nothing to assume; write kind/name, such as configuration/wifi.", text).at("assume")
	}
	name, err := provision.CheckItemName(part[1])
	if err != nil {
		return store.Assumed{}, faultf(codeInvalidParameter, "%s", err.Error()).at("assume")
	}
	a := store.Assumed{Kind: part[0], Name: name}
	if len(part) == parts {
		a.Identifier = part[2]
	}
	return a, nil
}
