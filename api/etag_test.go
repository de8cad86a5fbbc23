package api_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestConditions(t *testing.T) {
	s := serve(t)
	for name, edit := range map[string]func(n int, header map[string]string) answer{
		"groups": func(n int, header map[string]string) answer {
			return s.send(request{method: "PUT", path: "/v1/groups/x", body: body{"items": []body{}, "description": fmt.Sprint(n)}, header: header})
		},
		"abm-servers": func(n int, header map[string]string) answer {
			return s.send(request{method: "PUT", path: "/v1/abm-servers/x", body: body{"description": fmt.Sprint(n)}, header: header})
		},
		"device-profiles": func(n int, header map[string]string) answer {
			return s.send(request{method: "PUT", path: "/v1/device-profiles/x", body: body{"description": fmt.Sprint(n), "fields": body{}}, header: header})
		},
		"apps": func(n int, header map[string]string) answer {
			return s.send(request{method: "PUT", path: "/v1/apps/x", body: body{"bundle_id": "com.zylker.x", "store_id": n + 1}, header: header})
		},
		"configurations": func(n int, header map[string]string) answer {
			return s.send(request{method: "PUT", path: fmt.Sprint("/v1/configurations/x?description=", n), body: wifi, media: aspenConfig, header: header})
		},
		"assignment": func(n int, header map[string]string) answer {
			return s.send(request{method: "PUT", path: assignment, body: body{"user": body{"name": fmt.Sprint("U", n), "email": "a@b.co"}}, header: header})
		},
	} {
		t.Run(name, func(t *testing.T) {
			match := func(tag string) map[string]string { return map[string]string{"If-Match": tag} }
			edit(0, match("*")).fails(412, provision.VersionConflict)
			edit(0, match(`"1"`)).fails(412, provision.VersionConflict)
			create := map[string]string{"If-None-Match": "*"}
			first := edit(0, create)
			require.Contains(t, []int{200, 201}, first.status)
			edit(0, create).fails(412, provision.VersionConflict)
			tag := first.header.Get("ETag")
			second := edit(1, match(`"999999", `+tag)).ok(200)
			require.NotEqual(t, tag, second.header.Get("ETag"))
			edit(2, match(tag)).fails(412, provision.VersionConflict)
			edit(2, match("W/"+second.header.Get("ETag"))).fails(412, provision.VersionConflict)
			edit(2, match(`"abc"`)).fails(412, provision.VersionConflict)
			for _, bad := range []string{"5", `"5`, `"5" "6"`, `"a"b"`} {
				edit(2, match(bad)).fails(400, "invalid_parameter")
			}
			edit(2, map[string]string{"If-None-Match": `"1"`}).fails(400, "invalid_parameter")
			edit(2, match("*")).ok(200)
		})
	}
	for _, path := range []string{"/v1/groups/x", "/v1/apps/x", "/v1/configurations/x", "/v1/abm-servers/x", "/v1/device-profiles/x", assignment} {
		s.send(request{method: "DELETE", path: path, header: map[string]string{"If-Match": `"1"`}}).fails(412, provision.VersionConflict)
		tag := s.get(path).ok(200).header.Get("ETag")
		require.Contains(t, []int{200, 204}, s.send(request{method: "DELETE", path: path, header: map[string]string{"If-Match": tag}}).status)
	}
	s.send(request{method: "DELETE", path: assignment, header: map[string]string{"If-Match": "*"}}).fails(412, provision.VersionConflict)
}

func TestOfManyEditsAtOnceOneWins(t *testing.T) {
	s := serve(t)
	tag := s.put("/v1/groups/g", body{"items": []body{}}).ok(201).header.Get("ETag")
	first := s.put(assignment, body{"groups": []string{"g"}}).ok(200).header.Get("ETag")
	var groups, assignments, created atomic.Int32
	var wg sync.WaitGroup
	run := func(won *atomic.Int32, r request) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			switch a := s.send(r); a.status {
			case 200, 201:
				won.Add(1)
			case 412:
			default:
				t.Errorf("%d: %s", a.status, a.body)
			}
		}()
	}
	for i := range 8 {
		run(&groups, request{method: "PUT", path: "/v1/groups/g", body: body{"items": []body{}, "description": fmt.Sprint(i)}, header: map[string]string{"If-Match": tag}})
		run(&assignments, request{method: "PUT", path: assignment, body: body{"user": body{"name": fmt.Sprint("U", i), "email": "a@b.co"}}, header: map[string]string{"If-Match": first}})
		run(&created, request{method: "PUT", path: "/v1/apps/a", body: body{"bundle_id": "com.zylker.a", "store_id": i + 1}, header: map[string]string{"If-None-Match": "*"}})
	}
	wg.Wait()
	require.Equal(t, []int32{1, 1, 1}, []int32{groups.Load(), assignments.Load(), created.Load()})
}
