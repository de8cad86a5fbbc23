package serve

import (
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/worker"
)

// ABMConfig is what a service at a URL makes of its settings.
func ABMConfig(s settings.Serve, url string) (worker.ABMConfig, error) {
	return (&Service{settings: s, url: url}).abm()
}
