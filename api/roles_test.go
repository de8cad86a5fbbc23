package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const anybody store.Role = "" // no token needed

// expected says, apart from the code, who may do what. An operation of the contract that is missing here fails the test.
var expected = map[string]store.Role{
	"livez": anybody, "readyz": anybody, "metrics": anybody, "version": anybody, "openapi": anybody,

	"listDevices": store.Viewer, "getDevice": store.Viewer, "getDeviceTimeline": store.Viewer, "explainDevice": store.Viewer,
	"getDevicePlan": store.Viewer, "getAssignment": store.Viewer, "listGroups": store.Viewer, "getGroup": store.Viewer,
	"listConfigurations": store.Viewer, "getConfiguration": store.Viewer, "listApps": store.Viewer, "getApp": store.Viewer,
	"listPeople": store.Viewer, "getPerson": store.Viewer,

	"registerDevice": store.Technician, "assignDevice": store.Technician, "unassignDevice": store.Technician,
	"holdDevice": store.Technician, "resumeDevice": store.Technician, "releaseDeviceFromSetup": store.Technician,
	"extendDeviceHold": store.Technician, "retryDevice": store.Technician, "getEnrollmentProfile": store.Technician,

	"listAbmServers": store.Viewer, "getAbmServer": store.Viewer, "getAbmServerCertificate": store.Viewer,
	"listDeviceProfiles": store.Viewer, "getDeviceProfile": store.Viewer, "getDeviceAbm": store.Viewer,
	"syncAbmServer": store.Technician, "putDeviceDeviceProfile": store.Technician, "deleteDeviceDeviceProfile": store.Technician,
	"putAbmServer": store.Admin, "deleteAbmServer": store.Admin, "renewAbmServerKeys": store.Admin,
	"putAbmServerToken": store.Admin, "putAbmServerBusinessAccount": store.Admin, "deleteAbmServerBusinessAccount": store.Admin,
	"pauseAbmServer": store.Admin, "resumeAbmServer": store.Admin, "forgetAbmServerDevices": store.Admin,
	"putDeviceProfile": store.Admin, "deleteDeviceProfile": store.Admin, "unassignDeviceFromMdm": store.Admin,
	"cancelDeviceRelease": store.Admin,

	"deprovisionDevice": store.Admin, "reviewDevice": store.Technician, "assignDevices": store.Technician,
	"unassignDevices": store.Technician, "unassignDevicesFromMdm": store.Admin, "deprovisionDevices": store.Admin,
	"releaseDevices": store.Admin, "listReservations": store.Viewer, "listOperations": store.Viewer, "getOperation": store.Viewer,
	"listOperationRows": store.Viewer, "pauseOperation": store.Technician, "resumeOperation": store.Technician,
	"cancelOperation": store.Technician, "undoOperation": store.Technician, "importPeople": store.Admin,
	"listAssignmentImports":       store.Viewer,
	"getAssignmentImport":         store.Viewer,
	"listAssignmentImportRows":    store.Technician,
	"getAssignmentImportResult":   store.Technician,
	"getAssignmentImportTemplate": store.Viewer,
	"createAssignmentImport":      store.Technician,
	"applyAssignmentImport":       store.Technician,
	"pauseAssignmentImport":       store.Technician,
	"resumeAssignmentImport":      store.Technician,
	"cancelAssignmentImport":      store.Technician,
	"undoAssignmentImport":        store.Technician,
	"listUnassignImports":         store.Viewer,
	"getUnassignImport":           store.Viewer,
	"listUnassignImportRows":      store.Technician,
	"getUnassignImportResult":     store.Technician,
	"getUnassignImportTemplate":   store.Viewer,
	"createUnassignImport":        store.Technician,
	"applyUnassignImport":         store.Technician,
	"pauseUnassignImport":         store.Technician,
	"resumeUnassignImport":        store.Technician,
	"cancelUnassignImport":        store.Technician,
	"undoUnassignImport":          store.Technician,

	"withdrawDevice": store.Technician, "withdrawDevices": store.Technician,

	"listDirectories": store.Viewer, "getDirectory": store.Viewer, "testDirectory": store.Technician,
	"putDirectory": store.Admin, "deleteDirectory": store.Admin,

	"listDocuments": store.Viewer, "getDocument": store.Viewer, "getDocumentContent": store.Viewer, "putDocument": store.Admin,
	"putDocumentContent": store.Admin, "deleteDocument": store.Admin,

	"releaseDevice": store.Admin, "putGroup": store.Admin, "deleteGroup": store.Admin, "putConfiguration": store.Admin,
	"deleteConfiguration": store.Admin, "getConfigurationContent": store.Admin, "putApp": store.Admin,
	"deleteApp": store.Admin, "createPerson": store.Admin, "putPerson": store.Admin, "listTokens": store.Admin,
	"createToken": store.Admin, "revokeToken": store.Admin,
}

var places = strings.NewReplacer("{serial}", serial, "{name}", "nothing", "{id}", "nothing")

// operations calls do for every operation of the contract.
func (s *server) operations(do func(id, method, path string)) {
	for path, item := range s.doc.Paths.Map() {
		for method, op := range item.Operations() {
			do(op.OperationID, method, places.Replace(path))
		}
	}
}

func TestEachOperationAsksForItsRole(t *testing.T) {
	s := serve(t)
	ranks := []store.Role{store.Viewer, store.Technician, store.Admin}
	seen := 0
	s.operations(func(id, method, path string) {
		least, listed := expected[id]
		require.True(t, listed, "%s has no role", id)
		seen++
		if least == anybody {
			s.send(request{method: method, path: path, role: nobody}).ok(http.StatusOK)
			return
		}
		p := s.send(request{method: method, path: path, role: nobody})
		p.fails(http.StatusUnauthorized, "unauthorized")
		require.True(t, strings.HasPrefix(p.header.Get("WWW-Authenticate"), "Bearer "))
		for _, role := range ranks {
			a := s.send(request{method: method, path: path, role: role})
			if role.Includes(least) {
				require.NotContains(t, []int{401, 403}, a.status, "%s by %s", id, role)
				continue
			}
			a.fails(http.StatusForbidden, "forbidden")
		}
	})
	require.Len(t, expected, seen, "the table names operations that the contract doesn't have")
}

func TestTokens(t *testing.T) {
	s := serve(t)
	made := read[api.CreatedToken](s.post("/v1/tokens", body{"name": "depot", "role": "viewer"}).ok(201))
	require.True(t, strings.HasPrefix(made.Secret, made.Token.Prefix) && strings.HasPrefix(made.Secret, "mst_"))
	require.Len(t, made.Secret, len("mst_")+43, "256 bits")
	s.secret["depot"] = made.Secret

	s.send(request{method: "GET", path: "/v1/devices", role: "depot"}).ok(200)
	require.NotContains(t, string(s.get("/v1/tokens").ok(200).body), made.Secret)
	s.delete("/v1/tokens/" + made.Token.Id).ok(204)
	s.delete("/v1/tokens/" + made.Token.Id).ok(204)
	a := s.send(request{method: "GET", path: "/v1/devices", role: "depot"})
	a.fails(401, "unauthorized")
	require.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_token"`)

	s.delete("/v1/tokens/tok_nothing").fails(404, provision.NotFound)
	past := s.post("/v1/tokens", body{"name": "late", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"})
	require.Equal(t, []string{"expires_at"}, fields(past.fails(422, provision.Invalid)))
	require.NotContains(t, s.log.String(), made.Secret, "a secret in the log")
}

func TestSecretsThatAreNone(t *testing.T) {
	s := serve(t)
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic YTpi", "Bearer mst_", "Bearer " + strings.Repeat("x", 9000), "Bearer mst_" + strings.Repeat("A", 43)} {
		s.send(request{method: "GET", path: "/v1/devices", role: nobody, header: map[string]string{"Authorization": header}}).fails(401, "unauthorized")
	}
	s.send(request{method: "GET", path: "/v1/devices", role: nobody, header: map[string]string{"Authorization": "bearer " + s.secret[store.Viewer]}}).ok(200)
}
