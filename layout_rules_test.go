package muster_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules of layout_test.go themselves: each must let through what is right and name what is wrong.
func TestLayoutVerdicts(t *testing.T) {
	code := func(from, to string) link { return link{from: from, to: to, ours: true} }
	test := func(from, to string) link { return link{from: from, to: to, ours: true, test: true} }
	foreign := func(from, to string) link { return link{from: from, to: to} }

	for _, c := range []struct {
		link
		wrong string // a part of the sentence; "" is an import that is right
	}{
		{code("cmd/muster", "worker"), ""},
		{code("cmd/muster", "sim"), ""},
		{code("cmd/muster", "devstack"), ""},
		{code("worker", "workflows"), ""},
		{code("worker", "api/intake"), ""},
		{code("workflows", "activities"), ""},
		{code("activities", "store"), ""},
		{code("api", "api/console"), ""},
		{code("api/console", "api/intake"), ""},
		{code("api/checkin", "apple/mdm"), ""},
		{code("api/intake", "api/bulk"), ""},
		{code("api/bulk", "provision"), ""},
		{code("apple/dep", "apple/identity"), ""},
		{code("sim", "sim/appleschema"), ""},
		{foreign("store", "github.com/jackc/pgx/v5"), ""},
		{foreign("provision", "encoding/json"), ""},

		{code("provision", "store"), "provision imports nothing of ours"},
		{code("sim", "provision"), "sim imports nothing of ours"},
		{code("devstack/stacktest", "signals"), "devstack imports nothing of ours"},
		{foreign("provision", "github.com/google/uuid"), "standard library only"},
		{code("store", "signals"), "a neighbour on floor 2"},
		{code("apple/mdm", "store"), "a neighbour on floor 2"},
		{code("store", "workflows"), "imports go down only"},
		{code("worker", "cmd/muster"), "imports go down only"},
		{code("signals", "devstack"), "a tool for developers"},
		{code("worker", "sim"), "a tool for developers"},
		{code("workflows", "api/intake"), "workflows never imports api"},
		{code("activities", "api"), "activities never imports api"},
		{code("api/checkin", "activities"), "api never imports activities"},
		{code("api/intake", "workflows"), "api never imports workflows"},
		{code("api/console", "worker"), "api never imports worker"},
		{code("api/intake", "api"), "stands on it or beside it"},
		{code("api/intake", "api/console"), "stands on it or beside it"},
		{code("api/checkin", "api/enroll"), "stands on it or beside it"},
		{code("api/bulk", "store"), "is pure"},
		{code("reports", "store"), "reports is on no floor: add it to rooms in layout_test.go"},

		{test("store", "devstack/stacktest"), ""},
		{test("apple/mdm", "store"), ""},
		{test("apple/mdm", "sim"), ""},
		{test("workflows", "activities"), ""},
		{test("worker", "devstack"), ""},
		{test("api/intake", "api"), ""},
		{link{from: "provision", to: "pgregory.net/rapid", test: true}, ""},

		{test("store", "workflows"), "test it from there"},
		{test("activities", "worker"), "test it from there"},
		{test("workflows", "api/intake"), "workflows never imports api"},
		{test("api/checkin", "workflows"), "api never imports workflows"},
		{test("sim", "apple/mdm"), "sim imports nothing of ours"},
		{test("provision", "sim"), "provision imports nothing of ours"},
	} {
		got := verdict(c.link)
		if c.wrong == "" {
			require.Empty(t, got, "%+v", c.link)
			continue
		}
		require.Contains(t, got, c.wrong, "%+v", c.link)
	}
}

func TestLayoutKnowsAFolderByItsLongestRoom(t *testing.T) {
	for folder, want := range map[string]string{
		"api/client": "api", "api/intake/batch": "api/intake", "cmd/muster": "cmd", "apple/mdm": "apple", ".": ".",
	} {
		r, ok := roomOf(folder)
		require.True(t, ok, folder)
		require.Equal(t, want, r.path, folder)
	}
	for _, folder := range []string{"apiary", "stores/x", "internal"} {
		_, ok := roomOf(folder)
		require.False(t, ok, folder)
	}
}

func TestLayoutReadsAllImportsOfAPackage(t *testing.T) {
	p := listed{ImportPath: module + "/store", Imports: []string{module + "/provision"}, TestImports: []string{"testing"}, XTestImports: []string{module}}
	require.Equal(t, []link{
		{from: "store", to: "provision", ours: true},
		{from: "store", to: "testing", test: true},
		{from: "store", to: ".", ours: true, test: true},
	}, p.links())
}
