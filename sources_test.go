package muster_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The root imports nothing of ours, so what documentation and deployment files promise is held against the sources' text.

// parse reads the Go files below a folder, tests aside.
func parse(t *testing.T, folder string) []*ast.File {
	t.Helper()
	var files []*ast.File
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != folder && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files = append(files, file)
		return err
	}))
	require.NotEmpty(t, files, folder)
	return files
}

func text(t *testing.T, e ast.Expr) (string, bool) {
	t.Helper()
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(literal.Value)
	require.NoError(t, err)
	return s, true
}

// commands are the words that muster and its commands listen to: the first word of every cobra Use.
func commands(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, file := range parse(t, "cmd/muster") {
		ast.Inspect(file, func(n ast.Node) bool {
			field, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			if key, ok := field.Key.(*ast.Ident); !ok || key.Name != "Use" {
				return true
			}
			if use, ok := text(t, field.Value); ok {
				word, _, _ := strings.Cut(use, " ")
				found[word] = true
			}
			return true
		})
	}
	require.NotEmpty(t, found)
	return found
}

// settings are the MUSTER_ variables, secrets also with _FILE.
func settings(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, file := range parse(t, "cmd/muster") {
		ast.Inspect(file, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			raw, err := strconv.Unquote(field.Tag.Value)
			require.NoError(t, err)
			tag := reflect.StructTag(raw)
			name := tag.Get("env")
			if name == "" {
				return true
			}
			found["MUSTER_"+name] = true
			if tag.Get("secret") == "true" {
				found["MUSTER_"+name+"_FILE"] = true
			}
			return true
		})
	}
	require.NotEmpty(t, found)
	return found
}

// codes are the error codes below a folder: the constants of type provision.Code.
func codes(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	for _, file := range parse(t, folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !isCode(spec.Type) {
				return true
			}
			for _, value := range spec.Values {
				code, ok := text(t, value)
				require.True(t, ok)
				found = append(found, code)
			}
			return true
		})
	}
	require.NotEmpty(t, found)
	return found
}

// variables are the package-level variables of a folder.
func variables(t *testing.T, folder string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, file := range parse(t, folder) {
		for _, d := range file.Decls {
			list, ok := d.(*ast.GenDecl)
			if !ok || list.Tok != token.VAR {
				continue
			}
			for _, spec := range list.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					found[name.Name] = true
				}
			}
		}
	}
	return found
}

func isCode(kind ast.Expr) bool {
	switch k := kind.(type) {
	case *ast.Ident:
		return k.Name == "Code"
	case *ast.SelectorExpr:
		from, ok := k.X.(*ast.Ident)
		return ok && from.Name == "provision" && k.Sel.Name == "Code"
	}
	return false
}

// sources is the text of the Go files below a folder.
func sources(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".go" {
			all.WriteString(page(t, path))
		}
		return err
	}))
	return all.String()
}
