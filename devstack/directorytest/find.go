package directorytest

import (
	_ "embed"

	"github.com/muster-mdm/muster/devstack"
)

// The script is a file of its own because continuous integration runs it, too.
//
//go:embed install_directories.sh
var installScript string

// programs are the paths of a directory's programs by their names.
type programs map[string]string

func needs(programs ...string) devstack.Need {
	return devstack.Need{
		Programs: programs, What: "Samba and OpenLDAP", Script: installScript, ScriptFile: "devstack/directorytest/install_directories.sh",
	}
}

var (
	sambaPrograms = needs("samba", "samba-tool")
	slapdPrograms = needs("slapd", "slapadd")
)
