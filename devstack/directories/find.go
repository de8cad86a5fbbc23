package directories

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

// needs are the programs of samba or slapd, the first of which is the script's word for it.
func needs(what string, programs ...string) devstack.Need {
	return devstack.Need{
		Programs: programs, What: what, Script: installScript, ScriptFile: "devstack/directories/install_directories.sh", Args: programs[:1],
	}
}

var (
	sambaPrograms = needs("Samba", "samba", "samba-tool")
	slapdPrograms = needs("OpenLDAP", "slapd", "slapadd")
)
