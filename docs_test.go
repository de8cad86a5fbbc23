package muster_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func page(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

// mentions fails in one line, where assert.Contains would print the page.
func mentions(t *testing.T, file, what string) {
	t.Helper()
	if !strings.Contains(page(t, file), what) {
		t.Errorf("%s doesn't mention %q", file, what)
	}
}

func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		all = append(all, found...)
	}
	require.NotEmpty(t, all)
	return all
}

// R85: whoever reads a code finds its page.
func TestTroubleshootingKnowsEveryCode(t *testing.T) {
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^#### `([a-z_]+)`$").FindAllStringSubmatch(page(t, "docs/troubleshooting.md"), -1) {
		assert.False(t, sections[m[1]], "%s has two sections", m[1])
		sections[m[1]] = true
	}
	ofFiles := codes(t, "api/bulk") // of rows and files, beside each other in docs/csv.md
	for _, code := range codes(t, ".") {
		if slices.Contains(ofFiles, code) {
			continue
		}
		assert.True(t, sections[code], "%s has no section in docs/troubleshooting.md", code)
		delete(sections, code)
	}
	assert.Empty(t, sections, "sections about codes that don't exist")
}

func TestCSVPageKnowsEveryCode(t *testing.T) {
	lines := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(page(t, "docs/csv.md"), -1) {
		assert.False(t, lines[m[1]], "%s has two lines", m[1])
		lines[m[1]] = true
	}
	for _, code := range codes(t, "api/bulk") {
		assert.True(t, lines[code], "%s has no line in docs/csv.md", code)
		delete(lines, code)
	}
	assert.Empty(t, lines, "lines about codes that don't exist")
}

func TestOperationsKnowsEverySetting(t *testing.T) {
	known := settings(t)
	for name := range known {
		if known[strings.TrimSuffix(name, "_FILE")] && strings.HasSuffix(name, "_FILE") {
			continue // said once, for all secrets
		}
		mentions(t, "docs/operations.md", "`"+name+"`")
	}
}

var settingName = regexp.MustCompile(`\bMUSTER_[A-Z][A-Z_]*[A-Z]\b`)

// Variables that are read by others than the program's settings.
var otherVariables = map[string]bool{"MUSTER_VERSION": true, "MUSTER_TEST_POSTGRES": true, "MUSTER_TEST_TEMPORAL": true, "MUSTER_APPLE_SCHEMA": true}

func TestPagesNameSettingsAndCommandsThatExist(t *testing.T) {
	known := settings(t)
	verbs := commands(t)
	verbs["completion"] = true // cobra's own
	command := regexp.MustCompile("(?m)(?:^|`|\\| )(?:go run \\./cmd/muster|docker compose run --rm muster|muster) ([a-z-]+)(?: (up|status|create)\\b)?")
	for _, file := range pages(t) {
		if file == "CHANGELOG.md" {
			continue
		}
		body := page(t, file)
		for _, name := range settingName.FindAllString(body, -1) {
			assert.True(t, known[name] || otherVariables[name], "%s speaks of %s, which nothing reads", file, name)
		}
		for _, m := range command.FindAllStringSubmatch(body, -1) {
			assert.True(t, verbs[m[1]], "%s speaks of `muster %s`, which doesn't exist", file, m[1])
			if m[2] != "" {
				assert.True(t, verbs[m[2]], "%s speaks of `muster %s %s`, which doesn't exist", file, m[1], m[2])
			}
		}
	}
}

func TestDecisionsHaveTheirForm(t *testing.T) {
	decisions, err := filepath.Glob("docs/adr/[0-9]*.md")
	require.NoError(t, err)
	require.NotEmpty(t, decisions)
	for _, file := range decisions {
		for _, part := range []string{"\n## Context\n", "\n## Decision\n", "\n## Consequences\n"} {
			mentions(t, file, part)
		}
		mentions(t, "docs/adr/README.md", "]("+filepath.Base(file)+")")
	}
}

// Every dependency costs; each has a line that says what it is for.
func TestDependenciesAreAccountedFor(t *testing.T) {
	direct := regexp.MustCompile(`(?m)^\t([a-z0-9]\S*\.\S+) v\S+$`)
	tool := regexp.MustCompile(`(?m)^tool (\S+)$`)
	mod := page(t, "go.mod")
	for _, m := range direct.FindAllStringSubmatch(mod, -1) {
		mentions(t, "docs/adr/dependencies.md", "`"+m[1]+"`")
	}
	for _, m := range tool.FindAllStringSubmatch(mod, -1) {
		mentions(t, "docs/adr/dependencies.md", "`"+path.Dir(path.Dir(m[1]))+"`")
	}
}

func TestLinksBetweenPagesHold(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	for _, file := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(page(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			_, err := os.Stat(target)
			if assert.NoError(t, err, "%s links to %s", file, m[1]) && m[2] != "" {
				assert.Contains(t, anchors(t, target), m[2], "%s links to %s%s", file, m[1], m[2])
			}
		}
	}
}

// anchors are the places in a page that a link may lead to, named as GitHub names them.
func anchors(t *testing.T, path string) []string {
	t.Helper()
	dropped := regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#{1,6} (.+)$`).FindAllStringSubmatch(page(t, path), -1) {
		all = append(all, "#"+strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}
