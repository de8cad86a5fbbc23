package problem_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/problem"
	"github.com/muster-mdm/muster/provision"
)

func TestProblemHasTheFormOfTheContract(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "given-before")
	require.NoError(t, problem.Write(w, problem.Problem{Title: "Device on hold", Status: http.StatusConflict, Code: provision.DeviceOnHold, Detail: "d"}))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	var got api.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Equal(t, api.Problem{
		Type: "https://github.com/muster-mdm/muster/blob/main/docs/troubleshooting.md#device_on_hold", Title: "Device on hold", Status: 409,
		Detail: "d", Code: "device_on_hold", Instance: "urn:muster:request:given-before", RequestId: "given-before",
	}, got)
	fresh := httptest.NewRecorder()
	id := problem.RequestID(fresh)
	require.NotEmpty(t, id)
	require.Equal(t, id, problem.RequestID(fresh))
}
