package muster_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// instruction is one of a Dockerfile, its continuation lines joined.
type instruction struct{ name, args string }

// stage is what stands between one FROM and the next.
type stage struct {
	from, name string
	rest       []instruction
}

func (s stage) last(t *testing.T, name string) string {
	t.Helper()
	found := ""
	for _, i := range s.rest {
		if i.name == name {
			found = i.args
		}
	}
	require.NotEmpty(t, found, "the image has no %s", name)
	return found
}

func dockerfile(t *testing.T) []stage {
	t.Helper()
	var stages []stage
	for line := range strings.Lines(strings.ReplaceAll(page(t, "Dockerfile"), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name != "FROM" {
			require.NotEmpty(t, stages, "%s stands before the first FROM", name)
			s := &stages[len(stages)-1]
			s.rest = append(s.rest, instruction{name, strings.TrimSpace(args)})
			continue
		}
		var s stage
		for word := range strings.FieldsSeq(args) {
			switch {
			case strings.HasPrefix(word, "--") || strings.EqualFold(word, "AS"):
			case s.from == "":
				s.from = word
			default:
				s.name = word
			}
		}
		stages = append(stages, s)
	}
	return stages
}

func TestImageIsBuiltStaticByThePinnedGo(t *testing.T) {
	stages := dockerfile(t)
	require.Len(t, stages, 2)
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(page(t, "go.mod"))
	require.Len(t, version, 2)
	assert.Equal(t, "golang:"+version[1], stages[0].from, "the image and go.mod disagree about Go")

	build := ""
	for _, i := range stages[0].rest {
		if i.name == "RUN" && strings.Contains(i.args, "go build") {
			build = i.args
		}
	}
	for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "./cmd/muster", "$VERSION"} {
		assert.Contains(t, build, part)
	}
	// The linker ignores -X of a variable that doesn't exist, so the version would be lost without a word.
	set := regexp.MustCompile(`-X github\.com/muster-mdm/muster/(\S+)\.(\w+)=`).FindAllStringSubmatch(build, -1)
	assert.Len(t, set, 3, "version, commit and date")
	for _, m := range set {
		assert.True(t, variables(t, m[1])[m[2]], "the build sets %s in %s, which declares no such variable", m[2], m[1])
	}
}

func TestImageHoldsOnlyWhatRuns(t *testing.T) {
	stages := dockerfile(t)
	final := stages[len(stages)-1]
	assert.Equal(t, "scratch", final.from)
	assert.Regexp(t, `^[1-9][0-9]*:[1-9][0-9]*$`, final.last(t, "USER"), "the image runs as root, or by a name that nobody can check")

	copied := map[string]bool{}
	for _, i := range final.rest {
		assert.NotContains(t, []string{"RUN", "ADD"}, i.name)
		if i.name != "COPY" {
			continue
		}
		words := strings.Fields(i.args)
		assert.Equal(t, "--from="+stages[0].name, words[0], "copied from outside the build")
		copied[words[len(words)-1]] = true
	}
	assert.True(t, copied["/etc/ssl/certs/ca-certificates.crt"], "Apple's push service can't be verified")
	assert.True(t, copied["/usr/local/bin/muster"])
}

func TestImageStartsAndIsWatched(t *testing.T) {
	stages := dockerfile(t)
	final := stages[len(stages)-1]
	known := commands(t)

	var words []string
	require.NoError(t, json.Unmarshal([]byte(final.last(t, "ENTRYPOINT")), &words), "there is no shell in the image")
	assert.Equal(t, []string{"/usr/local/bin/muster"}, words)

	require.NoError(t, json.Unmarshal([]byte(final.last(t, "CMD")), &words), "there is no shell in the image")
	require.Len(t, words, 1)
	assert.Contains(t, known, words[0])

	_, check, found := strings.Cut(final.last(t, "HEALTHCHECK"), "CMD ")
	require.True(t, found)
	require.NoError(t, json.Unmarshal([]byte(check), &words), "there is no shell in the image")
	assert.Equal(t, []string{"/usr/local/bin/muster", "healthcheck"}, words)
	assert.Contains(t, known, "healthcheck")
}

func TestImageTakesNoSecrets(t *testing.T) {
	ignored := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(page(t, ".dockerignore"), ""))
	for _, pattern := range []string{".*", "deploy"} {
		assert.Contains(t, ignored, pattern)
	}
	assert.Equal(t, "secrets/", strings.TrimSpace(page(t, "deploy/.gitignore")))
}
