package serve

import (
	"runtime/debug"

	"github.com/muster-mdm/muster/api"
)

// version, commit and date are set by the linker: -ldflags "-X …/serve.version=1.2.3".
var version, commit, date string

// Version is what was built: a released version, or the commit.
func Version() string { return build().Version }

func build() api.Build {
	b := api.Build{Version: version, Commit: commit, BuiltAt: date}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" && info.Main.Version != "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.Commit == "" {
				b.Commit = s.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}
