package abm_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	simabm "github.com/muster-mdm/muster/sim/abm"
)

// say answers every request but those for access as told, by path; of a path that it doesn't know, as told for "".
func say(t *testing.T, answers map[string]string) *abm.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			_, _ = io.WriteString(w, `{"access_token":"a","token_type":"Bearer","expires_in":3600}`)
			return
		}
		answer, ok := answers[r.URL.Path]
		if !ok {
			answer = answers[""]
		}
		var status int
		var kind string
		first, body, _ := strings.Cut(answer, "\n")
		_, err := fmt.Sscanf(first, "%d %s", &status, &kind)
		if err != nil {
			status, kind, body = 200, "application/json", answer
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "{HOST}", r.Host))
	}))
	t.Cleanup(s.Close)
	client, err := abm.New(abm.Config{
		BaseURL: s.URL + "/", TokenURL: s.URL + "/token", Transport: s.Client().Transport,
		Account: open(t, simabm.Config{}).account,
	})
	require.NoError(t, err)
	return client
}

// An answer that is empty where it mustn't be is no organisation without devices, and no device without a server.
func TestHollowAnswers(t *testing.T) {
	for _, body := range []string{
		"{}", "null", "[]", `""`, "", "{", `{"data":null}`, `{"data":{}}`, `{"data":[{}]}`, `{"data":{"id":"OTHER","attributes":{"status":"ASSIGNED"}}}`,
		`{"data":{"id":"A","attributes":{}}}`, `{"data":{"id":"A","attributes":{"status":"ASSIGNED","releasedFromOrgDateTime":"soon"}}}`,
	} {
		c := say(t, map[string]string{"": body})
		_, err := c.OrgDevice(t.Context(), "A")
		requireFault(t, err, fault.Garbled, 200, "")
		_, _, err = c.OrgDevices(t.Context(), "", 0)
		requireFault(t, err, fault.Garbled, 200, "")
	}
	for _, body := range []string{"{}", "null", `{"data":null}`, `{"data":{}}`} {
		c := say(t, map[string]string{"": body, "/v1/orgDeviceActivities": "201 application/json\n" + body})
		_, err := c.AssignedServer(t.Context(), "A")
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.Activity(t.Context(), "A")
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.StartActivity(t.Context(), abm.Release, "", []string{"A"})
		requireFault(t, err, fault.Garbled, 200, "")
	}
	c := say(t, map[string]string{"": `{"meta":{}}`})
	_, err := c.Servers(t.Context())
	requireFault(t, err, fault.Garbled, 200, "")
}

func TestAServerListThatNeverEnds(t *testing.T) {
	for _, body := range []string{
		`{"data":[],"meta":{"paging":{"nextCursor":"same"}}}`,
		`{"data":[],"links":{"next":"https://api-business.apple.com/v1/mdmServers?cursor=same"}}`,
	} {
		_, err := say(t, map[string]string{"": body}).Servers(t.Context())
		requireFault(t, err, fault.Garbled, 200, "")
	}
}

// Apple documents no answer for a device without a server; what a careful reader could expect works.
func TestDevicesWithoutAServer(t *testing.T) {
	const linkage = "/v1/orgDevices/A/relationships/assignedServer"
	const gone = "404 application/json\n" + `{"errors":[{"status":"404","code":"NOT_FOUND","title":"t","detail":"d"}]}`
	device := func(status string) string {
		return `{"data":{"type":"orgDevices","id":"A","attributes":{"status":"` + status + `"}}}`
	}
	for _, none := range []string{gone, `{"data":null}`, `{"data":{"type":"mdmServers","id":""}}`} {
		server, err := say(t, map[string]string{linkage: none, "/v1/orgDevices/A": device("UNASSIGNED")}).AssignedServer(t.Context(), "a")
		require.NoError(t, err)
		require.Empty(t, server)
		_, err = say(t, map[string]string{linkage: none, "/v1/orgDevices/A": device("ASSIGNED")}).AssignedServer(t.Context(), "a")
		requireFault(t, err, fault.Garbled, 200, "") // it contradicts itself, or has changed in between
		_, err = say(t, map[string]string{linkage: none, "": gone}).AssignedServer(t.Context(), "a")
		requireFault(t, err, fault.NotFound, 404, "NOT_FOUND")
	}
}

// What a proxy says in Apple's place isn't Apple's word: that a device isn't there has consequences.
func TestRefusalsByTheirForm(t *testing.T) {
	problem := func(status int, code, detail string) string {
		return fmt.Sprintf("%d application/json\n"+`{"errors":[{"code":%q,"title":"T","detail":%q}]}`, status, code, detail)
	}
	for answer, want := range map[string]fault.Error{
		"404 text/html\n<html>Not found</html>":       {Kind: fault.Garbled, Status: 404},
		"404 text/plain\nnot found":                   {Kind: fault.Garbled, Status: 404},
		"404 application/json\n{}":                    {Kind: fault.Garbled, Status: 404},
		problem(404, "PATH_ERROR", "x"):               {Kind: fault.Refused, Status: 404, Code: "PATH_ERROR"},
		problem(404, "NOT_FOUND.DEVICE", "x"):         {Kind: fault.NotFound, Status: 404, Code: "NOT_FOUND.DEVICE"},
		"403 text/html\n<html>Blocked</html>":         {Kind: fault.Garbled, Status: 403},
		problem(403, "FORBIDDEN.AGREEMENTS", ""):      {Kind: fault.TermsNotSigned, Status: 403, Code: "FORBIDDEN.AGREEMENTS"},
		problem(403, "FORBIDDEN", "Accept the terms"): {Kind: fault.TermsNotSigned, Status: 403, Code: "FORBIDDEN"},
		problem(403, "FORBIDDEN", "no"):               {Kind: fault.AccessDenied, Status: 403, Code: "FORBIDDEN"},
		problem(401, "NOT_AUTHORIZED", "no"):          {Kind: fault.TokenRejected, Status: 401, Code: "NOT_AUTHORIZED"},
		"401 text/html\n<html>Sign in</html>":         {Kind: fault.Garbled, Status: 401},
		problem(429, "RATE_LIMIT_EXCEEDED", ""):       {Kind: fault.Throttled, Status: 429, Code: "RATE_LIMIT_EXCEEDED"},
		problem(500, "UNEXPECTED_ERROR", ""):          {Kind: fault.Unreachable, Status: 500, Code: "UNEXPECTED_ERROR"},
		problem(409, "CONFLICT", "busy"):              {Kind: fault.Refused, Status: 409, Code: "CONFLICT"},
		"302 text/plain\n":                            {Kind: fault.Garbled, Status: 302},
		"200 text/html\n<html>Sign in</html>":         {Kind: fault.Garbled, Status: 200},
	} {
		_, err := say(t, map[string]string{"": answer}).OrgDevice(t.Context(), "A")
		requireFault(t, err, want.Kind, want.Status, want.Code)
	}
}

func TestLogsOfAnyShape(t *testing.T) {
	const ended = `{"data":{"id":"A","attributes":{"status":"FAILED","subStatus":"COMPLETED_WITH_ERROR","downloadUrl":"http://{HOST}/log"}}}`
	for log, want := range map[string]map[string]string{
		"Serial Number,Result,Reason\nA1,SUCCESS,\nb2,FAILED,gone\n":                  {"B2": "gone"},
		"\xef\xbb\xbfDevice Serial,Operation Status\r\nA1,Succeeded\r\nB2,Failed\r\n": {"B2": "Failed"},
		"serial,error\nA1,\nB2,\"not, here\"\n":                                       {"B2": "not, here"},
		"serial,status\nA1\n,FAILED\nB2,FAILED,x,y\n":                                 {"B2": "FAILED"},
		"Serial Number,Status\n":                                                      {},
	} {
		s, err := say(t, map[string]string{"": ended, "/log": "200 text/csv\n" + log}).Activity(t.Context(), "A")
		require.NoError(t, err)
		require.Empty(t, s.LogProblem, log)
		require.Equal(t, want, s.Failures, log)
	}
	for answer, problem := range map[string]string{
		"200 text/csv\nname,age\nx,1\n": "other columns",
		"200 text/csv\n":                "isn't a table",
		"200 text/html\n<html></html>":  "web page",
		"403 application/xml\n<Error/>": "web page",
		"404 text/plain\ngone":          "isn't an answer of Apple's",
		"500 text/plain\n":              "in trouble",
	} {
		s, err := say(t, map[string]string{"": ended, "/log": answer}).Activity(t.Context(), "A")
		require.NoError(t, err)
		require.Nil(t, s.Failures, answer)
		require.Contains(t, s.LogProblem, problem, answer)
	}
	for _, unsafe := range []string{"http://169.254.169.254/log", "file:///etc/passwd", "://", "ftp://{HOST}x/log"} {
		s, err := say(t, map[string]string{"": strings.Replace(ended, "http://{HOST}/log", unsafe, 1)}).Activity(t.Context(), "A")
		require.NoError(t, err)
		require.Contains(t, s.LogProblem, "isn't safe to ask", unsafe)
	}
}

func TestStatesThatAreNew(t *testing.T) {
	for body, ended := range map[string]bool{
		`"status":"QUEUED"`: false,
		`"status":"CANCELLED","completedDateTime":"2026-11-27T12:00:00.000Z"`:                        true,
		`"status":"COMPLETED","subStatus":"COMPLETED_POST_PROCESSING_FAILED","completedDateTime":""`: true,
	} {
		s, err := say(t, map[string]string{"": `{"data":{"id":"A","attributes":{` + body + `}}}`}).Activity(t.Context(), "A")
		require.NoError(t, err)
		require.Equal(t, ended, s.Ended(), body)
		require.False(t, s.Succeeded(), body)
	}
}
