package intake

import (
	"errors"
	"fmt"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// within puts the name of the outer input before the field that the error names.
func within(outer string, err error) error {
	var rule *provision.Error
	if !errors.As(err, &rule) {
		return err
	}
	if rule.Field == "" {
		return rule.At(outer)
	}
	return rule.At(outer + "." + rule.Field)
}

// atIndex names an element of a list as the field at fault.
func atIndex(list string, n int, err error) error {
	var rule *provision.Error
	if !errors.As(err, &rule) {
		return err
	}
	return rule.At(fmt.Sprintf("%s[%d]", list, n))
}

// checkAccount is [provision.CheckPerson] for somebody who is named by domain and name only.
func checkAccount(p provision.Person) (provision.Person, error) {
	p.Name, p.Domain = strings.TrimSpace(p.Name), strings.TrimSpace(p.Domain)
	if p.Name == "" {
		return p, provision.Errorf(provision.Invalid, "The technician has no name; give one.").At("name")
	}
	if p.Domain == "" {
		p.Domain = provision.DefaultDomain
	}
	return p, nil
}
