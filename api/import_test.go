package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const (
	imports = "/v1/assignment-imports"
	columns = "Serial Number,User Name,Domain Name,Email Address,Group Name\n"
	// sample is the row of R32.
	sample = columns + "C07Q853LG9RM,ANDREW,,andrew@zylker.com,zylker_drivers\n"
)

// csv uploads a file.
func (s *server) csv(path, file string) answer {
	s.t.Helper()
	return s.send(request{method: "POST", path: path, body: file, media: "text/csv"})
}

// worked has a worker do what is due, and returns the operation.
func (s *server) worked(id string) api.Operation {
	s.t.Helper()
	for did := id; did != ""; {
		var err error
		did, err = s.db.WorkOn(s.t.Context())
		require.NoError(s.t, err)
	}
	return read[api.Operation](s.get("/v1/operations/" + id).ok(200))
}

func (s *server) uploaded(path, file string) api.Operation {
	s.t.Helper()
	o := read[api.Operation](s.csv(path, file).ok(201))
	require.Equal(s.t, api.OperationChecking, o.State)
	return s.worked(o.Id)
}

func TestTheSampleImports(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	a := s.csv(imports+"?file_name=drivers.csv", sample).ok(201)
	o := read[api.Operation](a)
	at := a.header.Get("Location")
	require.Equal(t, imports+"/"+o.Id, at)
	s.post(at+":apply", body{"mode": "valid_rows"}).fails(409, store.OperationState)
	o = s.worked(o.Id)
	require.Equal(t, api.OperationReady, o.State)
	require.Equal(t, map[string]int64{"reservation": 1}, o.Codes)
	require.Equal(t, "drivers.csv", o.File.Name)
	s.get("/v1/devices/C07Q853LG9RM").fails(404, provision.DeviceNotFound)

	s.post(at+":apply", body{"mode": "all_or_nothing"}).ok(202)
	o = s.worked(o.Id)
	require.Equal(t, api.OperationDone, o.State)
	require.Equal(t, 100, o.Progress.Percent)
	d := read[api.Device](s.get("/v1/devices/C07Q853LG9RM").ok(200))
	require.Equal(t, "ANDREW", d.Assignment.User.Name)
	require.Equal(t, "MDM", d.Assignment.User.Domain)
	require.Equal(t, []string{"zylker_drivers"}, d.Assignment.Groups)
	line := int64(2)
	require.Equal(t, &api.Origin{Source: "api", Actor: d.Assignment.Actor, Operation: &o.Id, Line: &line}, d.Assignment.Origin)

	p := s.csv(imports, sample).fails(409, store.ImportDuplicate)
	require.Contains(t, p.Detail, o.Id)
	forced := s.uploaded(imports+"?force=true", sample)
	require.Equal(t, map[string]int64{"already_assigned": 1}, forced.Codes)

	require.True(t, o.Undoable)
	s.post(at+":undo", nil).ok(202)
	o = s.worked(o.Id)
	require.Equal(t, api.OperationUndone, o.State)
	require.Equal(t, int64(1), o.Progress.Restored)
	d = read[api.Device](s.get("/v1/devices/C07Q853LG9RM").ok(200))
	require.Nil(t, d.Assignment)
	require.Equal(t, []string{"Withdrawn"}, d.Labels, "only the import knew it")
	require.Equal(t, []string{"assigned", "withdrawn"}, s.kinds("C07Q853LG9RM"))
	require.Empty(t, read[api.DeviceList](s.get("/v1/devices").ok(200)).Devices)
	o = s.uploaded(imports, strings.ReplaceAll(sample, "andrew@", "a@"))
	require.Equal(t, map[string]int64{"reservation": 1}, o.Codes, "it is as new")
	o = s.uploaded("/v1/unassign-imports", "Serial Number\nC07Q853LG9RM\n")
	require.Equal(t, map[string]int64{"device_not_found": 1}, o.Codes)
}

func TestAFileWithEverythingWrong(t *testing.T) {
	s := serve(t, func(c *api.Config) { c.URL = "https://mdm.zylker.test" })
	s.put("/v1/groups/g", body{"items": []body{}}).ok(201)
	s.record("C07Q00000005", provision.Fact{Kind: provision.Registered}, provision.Fact{Kind: provision.Released})
	s.put("/v1/devices/C07Q00000006/assignment", body{"user": body{"name": "BEA", "email": "bea@zylker.com"}}).ok(200)
	file := columns +
		"c07q00000001,A,,a@z.com,g\n" + // lower case, a reservation
		"C07Q00000002,B,,b@z.com,nothing/g\n" + // no such group
		"C07Q00000003,,,nonsense,g\n" + // two errors
		"C07Q00000004,C,,c@z.com,g\nC07Q00000004,D,,d@z.com,g\n" + // contradiction
		"C07Q00000005,E,,e@z.com,g\n" + // released
		"C07Q00000006,=F,,f@z.com,g\n" // assigned to BEA
	o := s.uploaded(imports, file)
	at := imports + "/" + o.Id
	require.Equal(t, []int64{7, 0, 2, 5}, []int64{o.Rows.Total, o.Rows.Ok, o.Rows.Notice, o.Rows.Error})
	require.Equal(t, map[string]int64{
		"serial_lower_case": 1, "reservation": 1, "group_not_found": 1, "cell_empty": 1, "email_invalid": 1, "serial_conflict": 2,
		"device_released": 1, "formula_text": 1, "reassigned": 1,
	}, o.Codes)
	s.post(at+":apply", body{"mode": "all_or_nothing"}).fails(409, store.RowsInError)

	list := read[api.OperationRowList](s.get(at + "/rows?verdict=error&limit=2").ok(200))
	require.Len(t, list.Rows, 2)
	require.Equal(t, `Group "nothing" does not exist; create it first.`, list.Rows[0].Problems[0].Detail)
	require.Len(t, list.Rows[1].Problems, 2, "all that is wrong, not the first")
	next := read[api.OperationRowList](s.get(at + "/rows?verdict=error&cursor=" + *list.NextCursor).ok(200))
	require.Len(t, next.Rows, 3)
	require.Len(t, next.Rows[0].Problems, 1, "what contradicts another row isn't said to be reserved")
	require.Len(t, read[api.OperationRowList](s.get(at+"/rows?code=reservation").ok(200)).Rows, 1)
	require.Len(t, read[api.OperationRowList](s.get(at+"/rows?code=reassigned").ok(200)).Rows, 1)

	s.post(at+":apply", body{"mode": "valid_rows"}).ok(202)
	o = s.worked(o.Id)
	require.Equal(t, []int64{2, 2, 100}, []int64{o.Progress.Changed, o.Progress.Of, int64(o.Progress.Percent)})
	result := s.get(at + "/result").ok(200)
	require.Contains(t, result.header.Get("Content-Disposition"), "-result.csv")
	cells, err := csv.NewReader(strings.NewReader(string(result.body))).ReadAll()
	require.NoError(t, err)
	require.Len(t, cells, 8)
	require.Equal(t, []string{"Serial Number", "User Name", "Domain Name", "Email Address", "Group Name", "Verdict", "Detail", "Link"}, cells[0])
	require.Equal(t, "https://mdm.zylker.test/v1/devices/C07Q00000001", cells[1][7])
	require.Equal(t, "'=F", cells[7][1], "no spreadsheet calculates it")
	require.Equal(t, "error", cells[2][5])
	corrected := s.uploaded(imports, string(result.body))
	require.Equal(t, o.Rows.Error, corrected.Rows.Error, "the result imports as it is")
	asCSV := s.send(request{method: "GET", path: at + "/rows", header: map[string]string{"Accept": "text/csv"}}).ok(200)
	require.Equal(t, string(result.body), string(asCSV.body))
}

func TestFilesThatCanNotBeImported(t *testing.T) {
	s := serve(t)
	for file, line := range map[string]string{"": "line 1", "PK\x03\x04zip": "line 1", "Serial Number,User Name\nC07Q853LG9RM,A\n": "line 1"} {
		p := s.csv(imports, file).fails(422, intake.ImportUnreadable)
		require.Contains(t, fields(p), line)
	}
	require.Empty(t, read[api.OperationList](s.get(imports).ok(200)).Operations, "nothing is left of them")
	s.get(imports+"/imp_nothing").fails(404, provision.NotFound)
	s.csv(imports, string(s.get(imports+"/template").ok(200).body)).ok(201)
}

func TestUnassignByFile(t *testing.T) {
	s := serve(t)
	for n := range 3 {
		s.put(fmt.Sprintf("/v1/devices/C07Q0000000%d/assignment", n), body{"user": body{"name": "A", "email": "a@z.com"}}).ok(200)
	}
	s.record("C07Q00000009", provision.Fact{Kind: provision.Registered})
	at := "/v1/unassign-imports"
	o := s.uploaded(at, "Serial Number,Reason\nC07Q00000000,Left\nC07Q00000001,\nC07Q00000009,\nC07Q00000008,\n")
	require.Equal(t, map[string]int64{"not_assigned": 1, "device_not_found": 1}, o.Codes)
	s.get(imports+"/"+o.Id).fails(404, provision.NotFound)
	s.post(at+"/"+o.Id+":apply", body{"mode": "valid_rows"}).ok(202)
	o = s.worked(o.Id)
	require.Equal(t, []int64{2, 1}, []int64{o.Progress.Changed, o.Progress.Unchanged})
	require.Equal(t, []string{"assigned", "unassigned"}, s.kinds("C07Q00000000"))
	require.NotNil(t, read[api.Device](s.get("/v1/devices/C07Q00000002").ok(200)).Assignment)
	s.post(at+"/"+o.Id+":undo", nil).ok(202)
	s.worked(o.Id)
	restored := read[api.Device](s.get("/v1/devices/C07Q00000000").ok(200)).Assignment
	require.Equal(t, "A", restored.User.Name)
	require.Equal(t, o.Id, *restored.Origin.Operation)
	require.Nil(t, restored.Origin.Line, "what is restored doesn't stand in the file")
	require.Len(t, read[api.OperationList](s.get(at).ok(200)).Operations, 1)
	require.Empty(t, read[api.OperationList](s.get(imports).ok(200)).Operations)
}

func TestReservationsOverREST(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	o := s.uploaded(imports+"?expected_by=2020-01-01T00:00:00Z", sample)
	s.post(imports+"/"+o.Id+":apply", body{"mode": "valid_rows"}).ok(202)
	s.worked(o.Id)
	later := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	s.put("/v1/devices/C07Q00000001/assignment", body{"groups": []string{"zylker_drivers"}, "expected_by": later}).ok(200)
	all := read[api.ReservationList](s.get("/v1/reservations?limit=1").ok(200))
	require.Len(t, all.Reservations, 1)
	require.NotNil(t, all.NextCursor)
	overdue := read[api.ReservationList](s.get("/v1/reservations?overdue=true").ok(200)).Reservations
	require.Len(t, overdue, 1)
	require.Equal(t, "C07Q853LG9RM", overdue[0].Serial)
	require.True(t, overdue[0].Overdue)
	s.activate("C07Q853LG9RM", false)
	require.Len(t, read[api.ReservationList](s.get("/v1/reservations").ok(200)).Reservations, 1, "it has come")
}

// A page of rows is no larger than a few ordinary ones, however long the rows are; none is left out.
func TestRowsOfAMegabyteComeByShorterPages(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	const rows = 40
	long := strings.Repeat(","+strings.Repeat("x", 120<<10), 4)
	var file strings.Builder
	file.WriteString(strings.TrimSpace(columns) + ",A,B,C,D\n")
	for n := range rows {
		fmt.Fprintf(&file, "C07Q%08d,ANDREW,,andrew@zylker.com,zylker_drivers%s\n", n, long)
	}
	at := imports + "/" + s.uploaded(imports, file.String()).Id + "/rows?limit=500"
	var lines []int64
	for next := at; next != ""; {
		a := s.get(next).ok(200)
		require.Less(t, len(a.body), 18<<20)
		list := read[api.OperationRowList](a)
		for _, r := range list.Rows {
			lines = append(lines, r.Line)
		}
		if next = ""; list.NextCursor != nil {
			next = at + "&cursor=" + *list.NextCursor
		}
	}
	require.Len(t, lines, rows)
	require.True(t, slices.IsSorted(lines))
	require.Len(t, slices.Compact(lines), rows)
}

// brokenUpload is a file of which only the beginning comes.
type brokenUpload struct {
	io.Reader
	hangUp context.CancelFunc
}

func (b *brokenUpload) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.hangUp()
		return n, context.Canceled
	}
	return n, nil
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	ctx, hangUp := context.WithCancel(t.Context())
	var file strings.Builder
	file.WriteString(columns)
	for n := range 20_000 {
		fmt.Fprintf(&file, "C07Q%08d,ANDREW,,andrew@zylker.com,zylker_drivers\n", n)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.http.URL+imports, &brokenUpload{strings.NewReader(file.String()), hangUp})
	require.NoError(t, err)
	req.Header.Set("Content-Type", "text/csv")
	req.Header.Set("Authorization", "Bearer "+s.secret[store.Technician])
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	require.Error(t, err)
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), `"route":"createAssignmentImport"`) }, 10*time.Second, time.Millisecond)
	require.Empty(t, read[api.OperationList](s.get(imports).ok(200)).Operations)
	var left int
	require.NoError(t, s.db.NanoMDM().QueryRowContext(t.Context(), `SELECT count(*) FROM public.operation_pages`).Scan(&left))
	require.Zero(t, left)
	// Neither packed nor in a form is it a file.
	var packed bytes.Buffer
	gz := gzip.NewWriter(&packed)
	_, err = gz.Write([]byte(sample))
	require.NoError(t, err)
	require.NoError(t, gz.Close())
	p := s.send(request{method: "POST", path: imports, body: packed.Bytes(), media: "text/csv", header: map[string]string{"Content-Encoding": "gzip"}}).fails(422, intake.ImportUnreadable)
	require.Contains(t, p.Detail, "compressed with gzip")
	s.send(request{method: "POST", path: imports, body: "--x\r\n\r\n" + sample + "--x--", media: "multipart/form-data; boundary=x"}).fails(415, "unsupported_media_type")
}

// Whoever downloads a result must be able to tell half of it from all of it.
func TestAResultThatBreaksOffIsNotTakenForAWhole(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	var file strings.Builder
	file.WriteString(columns)
	for n := range 700 {
		fmt.Fprintf(&file, "C07Q%08d,ANDREW,,andrew@zylker.com,zylker_drivers\n", n)
	}
	o := s.uploaded(imports, file.String())
	sql, err := pgx.Connect(t.Context(), s.url)
	require.NoError(t, err)
	defer func() { _ = sql.Close(context.Background()) }()
	_, err = sql.Exec(t.Context(), `UPDATE operation_pages SET problems = array_fill('"?"'::jsonb, ARRAY[cardinality(lines)]) WHERE last_line > 501`)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http.URL+imports+"/"+o.Id+"/result", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+s.secret[store.Technician])
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	part, err := io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Contains(t, string(part), "C07Q00000001")
	require.Contains(t, s.log.String(), "reading the problems of line")
}

// A time that no answer can tell would make an error of each that lists the device.
func TestTimesThatNoAnswerCanTellAreRefused(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	for _, at := range []string{"9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00Z"} {
		p := s.csv(imports+"?expected_by="+url.QueryEscape(at), sample).fails(400, "invalid_parameter")
		require.Equal(t, []string{"expected_by"}, fields(p))
	}
	last := "9999-12-31T23:59:59Z"
	s.put(device+"/assignment", body{"groups": []string{"zylker_drivers"}, "expected_by": last}).ok(200)
	list := read[api.DeviceList](s.get("/v1/devices").ok(200)).Devices
	require.Equal(t, last, list[0].ExpectedBy.UTC().Format(time.RFC3339))
}

func TestPeopleByFile(t *testing.T) {
	s := serve(t)
	at := "/v1/people:import"
	require.Equal(t, 2, read[api.PeopleImported](s.csv(at, "user name,Email Address,Technician\nANDREW,a@z.com,\nBEA,b@z.com,yes\n").ok(200)).People)
	p := s.csv(at, "User Name,Email Address\n,x@z.com\nC,nonsense\n").fails(422, intake.ImportUnreadable)
	require.Equal(t, []string{"line 2", "line 3"}, fields(p))
	s.csv(at, "Name\n").fails(422, intake.ImportUnreadable)
	long := strings.Repeat("x", 201)
	p = s.csv(at, "User Name,Email Address\nM\xfcller,m@z.com\n"+long+",x@z.com\nA\x07,a@z.com\n").fails(422, intake.ImportUnreadable)
	require.Equal(t, []string{"line 2", "line 3", "line 4"}, fields(p))
	require.Contains(t, (*p.Errors)[0].Detail, `not UTF-8; in Windows-1252 it would be "Müller"`)
	s.csv(at, "User Name,Email Address,user name\n").fails(422, intake.ImportUnreadable)
	// What the file says nothing of stays as it is.
	s.csv(at, "User Name,Email Address\nBEA,bea@z.com\n").ok(200)
	list := read[api.PersonList](s.get("/v1/people?technician=true").ok(200)).People
	require.Len(t, list, 1)
	require.Equal(t, []string{"BEA", "bea@z.com"}, []string{list[0].Name, list[0].Email})
	s.put(device+"/assignment", body{"technician": body{"name": "bea"}}).ok(200)
}
