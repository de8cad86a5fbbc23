package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	fence    = regexp.MustCompile("(?s)```(?:sh|console)?\n(.*?)\n```")
	inline   = regexp.MustCompile("`(muster [^`]+)`")
	flagWord = regexp.MustCompile(`^--?[a-zA-Z][a-z-]*`)
)

// Every command that a page shows exists, with every flag that it has there.
func TestPagesShowCommandsAndFlagsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	shown := 0
	for _, page := range append(pages, "../../../README.md") {
		raw, err := os.ReadFile(page)
		require.NoError(t, err)
		var commands []string
		for _, block := range fence.FindAllStringSubmatch(string(raw), -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				commands = append(commands, strings.Split(line, "|")...)
			}
		}
		for _, m := range inline.FindAllStringSubmatch(string(raw), -1) {
			commands = append(commands, m[1])
		}
		for _, command := range commands {
			command, _, _ = strings.Cut(command, " #")
			words := strings.Fields(command)
			if len(words) < 2 || words[0] != "muster" {
				continue
			}
			shown++
			help := helpOf(t, words[1:])
			for _, word := range words[1:] {
				if flag := flagWord.FindString(word); flag != "" {
					require.Regexp(t, `(?m)^ .*`+regexp.QuoteMeta(flag)+`\b`, help, "%s shows: %s", page, command)
				}
			}
		}
	}
	require.Greater(t, shown, 50)
}

// helpOf is the help of the command that words name; arguments may follow.
func helpOf(t *testing.T, words []string) string {
	t.Helper()
	path := []string{}
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			break
		}
		path = append(path, word)
	}
	code, out, errOut := muster(t, append(path, "--help")...)
	require.Equal(t, 0, code, "muster %v: %s", path, errOut)
	return out
}
