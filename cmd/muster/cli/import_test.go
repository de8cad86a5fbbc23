package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/cli"
)

const corpus = "../../../api/bulk/testdata/corpus"

// judged is a line of --json, and what stands beside the files of the corpus.
type judged struct {
	Line    int
	Verdict string
	Codes   []string
}

// The command gives every file of the corpus the verdicts that stand beside it, from a file and from a pipe.
func TestImportCheckJudgesTheCorpus(t *testing.T) {
	files, err := filepath.Glob(corpus + "/*.csv")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 60)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(strings.TrimSuffix(file, ".csv") + ".json")
			require.NoError(t, err)
			var want struct {
				Format     string
				File, Rows []judged
			}
			require.NoError(t, json.Unmarshal(raw, &want))
			args := []string{"import", "check", "--json", "--groups", `zylker_drivers,zylker_sales,"Zylker, Inc",Zürich`}
			if want.Format == "unassignments" {
				args = append(args, "--unassign")
			}
			code, out, errOut := muster(t, append(args, file)...)
			require.Empty(t, errOut)
			expected := slices.Concat(want.File, want.Rows)
			require.ElementsMatch(t, ordered(expected), ordered(lines(t, out)))
			wrong := slices.ContainsFunc(expected, func(j judged) bool { return j.Verdict == "error" })
			require.Equal(t, wrong, code == 1)

			data, err := os.ReadFile(file)
			require.NoError(t, err)
			code, piped, errOut := musterFrom(t, bytes.NewReader(data), append(args, "-")...)
			require.Empty(t, errOut)
			require.Equal(t, out, piped)
			require.Equal(t, wrong, code == 1)
		})
	}
}

func musterFrom(t *testing.T, in io.Reader, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Main(t.Context(), args, cli.Streams{In: in, Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

func lines(t *testing.T, out string) []judged {
	t.Helper()
	var all []judged
	for line := range strings.Lines(out) {
		var j judged
		require.NoError(t, json.Unmarshal([]byte(line), &j), line)
		require.NotNil(t, j.Codes, line)
		all = append(all, j)
	}
	return all
}

func ordered(all []judged) []string {
	var said []string
	for _, j := range all {
		codes := slices.Clone(j.Codes)
		slices.Sort(codes)
		said = append(said, fmt.Sprint(j.Line, j.Verdict, codes))
	}
	return said
}

// The codes of a row come in the order in which a server gives them.
func TestImportCheckGivesCodesInTheOrderOfAServer(t *testing.T) {
	file := "Serial Number,User Name,Email Address,Group Name\nC07Q00000001,A,a@z.com,none\nC07Q00000001,B,b@z.com,none\n"
	_, out, _ := musterFrom(t, strings.NewReader(file), "import", "check", "--json", "--groups", "g", "-")
	require.Equal(t, []string{"group_not_found", "serial_conflict"}, lines(t, out)[0].Codes)
}

func TestImportCheckPrintsFiftyProblemsUnlessAskedForAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "many.csv")
	require.NoError(t, os.WriteFile(file, []byte("Serial Number\n"+strings.Repeat("x\n", 60)), 0o600))
	code, out, _ := muster(t, "import", "check", "--unassign", file)
	require.Equal(t, 1, code)
	require.Equal(t, 50, strings.Count(out, "(serial_invalid)"))
	require.Contains(t, out, "… and 10 more; --all shows them. In all there are:\n  serial_invalid: 60\n")
	require.Contains(t, out, "has 60 rows: 0 ok, 0 with notices, 60 in error.")
	_, out, _ = muster(t, "import", "check", "--unassign", "--all", file)
	require.Equal(t, 60, strings.Count(out, "serial_invalid"))
	require.NotContains(t, out, "more")
}

// A terminal that says nothing mustn't hold up who presses Ctrl-C; and nothing stays behind.
func TestImportCheckCanBeInterrupted(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	ctx, cancel := context.WithCancel(t.Context())
	terminal, keyboard := io.Pipe()
	defer keyboard.Close()
	var stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- cli.Main(ctx, []string{"import", "check", "-"}, cli.Streams{In: terminal, Out: io.Discard, Err: &stderr})
	}()
	_, err := keyboard.Write([]byte("Serial Number"))
	require.NoError(t, err)
	cancel()
	require.Equal(t, 1, <-ended)
	require.Contains(t, stderr.String(), "muster: reading the input: ")
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestImportCheckFailsWhenItCannotRead(t *testing.T) {
	code, _, errOut := musterFrom(t, io.MultiReader(strings.NewReader("Serial"), failing{}), "import", "check", "-")
	require.Equal(t, 1, code)
	require.Equal(t, "muster: reading the input: the line is dead\n", errOut)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the line is dead") }
