package muster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/muster-mdm/muster"

// room is a folder with a place in the house. Folders inside it belong to it, unless they are rooms of their own.
type room struct {
	path  string
	floor int  // may import rooms on lower floors only
	stair int  // orders rooms of one house on the same floor: api/console stands on api/intake
	alone bool // imports nothing of ours
	pure  bool // of ours, imports provision only
	std   bool // imports the standard library only
	tool  bool // for developers: only cmd and tests may import it
}

// rooms is the list to add a new folder to; docs/adr/ says why where that isn't plain.
var rooms = []room{
	{path: "cmd", floor: 6},
	{path: "worker", floor: 5},
	{path: "workflows", floor: 4},
	{path: "activities", floor: 3},
	{path: "api", floor: 3, stair: 3},
	{path: "api/console", floor: 3, stair: 2},
	{path: "api/checkin", floor: 3, stair: 2},
	{path: "api/enroll", floor: 3, stair: 2},
	{path: "api/intake", floor: 3, stair: 1},
	{path: "api/problem", floor: 3, stair: 1},
	{path: "api/throttle", floor: 3, stair: 1},
	{path: "api/bulk", floor: 3, pure: true},
	{path: "signals", floor: 2},
	{path: "store", floor: 2},
	{path: "apple", floor: 2},
	{path: "directory", floor: 2},
	{path: "provision", floor: 1, alone: true, std: true},
	{path: "sim", floor: 1, alone: true, tool: true},
	{path: "devstack", floor: 1, alone: true, tool: true},
	{path: ".", floor: 0, alone: true},
}

// never holds the walls inside the house that floors alone don't make, for tests, too.
var never = map[string][]string{
	"workflows":  {"api"},
	"activities": {"api"},
	"api":        {"activities", "workflows", "worker"},
}

// vagueNames say nothing about what a folder is for, so everything ends up in them.
var vagueNames = []string{"internal", "pkg", "util", "utils", "common", "models", "config", "helpers"}

// link is one import. Paths of ours are relative to the module: "store", "api/intake", "." for the root.
type link struct {
	from, to string
	ours     bool
	test     bool
}

func roomOf(folder string) (room, bool) {
	best, found := room{}, false
	for _, r := range rooms {
		inside := folder == r.path || strings.HasPrefix(folder, r.path+"/")
		if inside && len(r.path) >= len(best.path) {
			best, found = r, true
		}
	}
	return best, found
}

func house(r room) string {
	top, _, _ := strings.Cut(r.path, "/")
	return top
}

// verdict says in a sentence what is wrong with an import, or "".
func verdict(l link) string {
	from, ok := roomOf(l.from)
	if !ok {
		return fmt.Sprintf("%s is on no floor: add it to rooms in layout_test.go, and say in docs/adr/ why the house needs another room", l.from)
	}
	if !l.ours {
		if from.std && !l.test && strings.Contains(strings.SplitN(l.to, "/", 2)[0], ".") {
			return fmt.Sprintf("%s imports %s, but %s uses the standard library only", l.from, l.to, from.path)
		}
		return ""
	}
	to, ok := roomOf(l.to)
	if !ok || to.path == from.path {
		return "" // an unknown room is reported as an importer
	}
	if slices.Contains(never[house(from)], house(to)) {
		return fmt.Sprintf("%s imports %s: %s never imports %s", l.from, l.to, house(from), house(to))
	}
	if l.test {
		return testVerdict(l, from, to)
	}
	return codeVerdict(l, from, to)
}

func codeVerdict(l link, from, to room) string {
	switch {
	case from.alone:
		return fmt.Sprintf("%s imports %s, but %s imports nothing of ours", l.from, l.to, from.path)
	case from.pure && to.path != "provision":
		return fmt.Sprintf("%s imports %s, but %s is pure: of ours it imports provision only", l.from, l.to, from.path)
	case to.tool && from.path != "cmd":
		return fmt.Sprintf("%s imports %s, a tool for developers: only cmd and tests may", l.from, l.to)
	case to.floor > from.floor:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d): imports go down only", l.from, from.floor, l.to, to.floor)
	case to.floor < from.floor:
		return ""
	case house(to) != house(from):
		return fmt.Sprintf("%s imports %s, a neighbour on floor %d: let the floor above join them", l.from, l.to, from.floor)
	case to.stair >= from.stair:
		return fmt.Sprintf("%s imports %s, which stands on it or beside it", l.from, l.to)
	}
	return ""
}

// testVerdict is milder: a test may look at its neighbours and use the tools.
func testVerdict(l link, from, to room) string {
	switch {
	case l.to == "devstack/stacktest":
		return ""
	case from.alone:
		return fmt.Sprintf("a test of %s imports %s, but %s imports nothing of ours", l.from, l.to, from.path)
	case to.floor > from.floor:
		return fmt.Sprintf("a test of %s (floor %d) imports %s (floor %d): test it from there", l.from, from.floor, l.to, to.floor)
	}
	return ""
}

// listed is what `go list -json` says about a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func (p listed) links() []link {
	var all []link
	add := func(imports []string, test bool) {
		for _, imported := range imports {
			to, ours := relative(imported)
			from, _ := relative(p.ImportPath)
			all = append(all, link{from: from, to: to, ours: ours, test: test})
		}
	}
	add(p.Imports, false)
	add(p.TestImports, true)
	add(p.XTestImports, true)
	return all
}

func relative(importPath string) (folder string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	// -e: a package that doesn't compile at the moment is another test's business.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, problems.String())
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

func TestLayoutImportsGoDown(t *testing.T) {
	packages := listPackages(t)
	require.NotEmpty(t, packages)
	for _, p := range packages {
		folder, _ := relative(p.ImportPath)
		if _, ok := roomOf(folder); !ok {
			t.Error(verdict(link{from: folder}))
			continue
		}
		for _, l := range p.links() {
			if wrong := verdict(l); wrong != "" {
				t.Error(wrong)
			}
		}
	}
}

func TestLayoutFoldersSayWhatTheyAreFor(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || file == "." {
			return err
		}
		name := path.Base(filepath.ToSlash(file))
		if strings.HasPrefix(name, ".") || name == "testdata" {
			return filepath.SkipDir
		}
		if slices.Contains(vagueNames, name) {
			t.Errorf("the folder %s has a name that says nothing: name what is in it", file)
		}
		return nil
	})
	require.NoError(t, err)
}
