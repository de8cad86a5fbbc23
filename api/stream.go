package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/muster-mdm/muster/api/intake"
)

// streaming are the operations whose bodies or answers may be as large as an import or a document: they may take long, as
// long as something moves. The value is the largest body.
var streaming = map[string]int64{
	"putDocumentContent": intake.MaxDocument, "getDocumentContent": maxJSON,
	"createAssignmentImport": intake.MaxImport, "createUnassignImport": intake.MaxImport,
	"getAssignmentImportResult": maxJSON, "getUnassignImportResult": maxJSON,
	"listAssignmentImportRows": maxJSON, "listUnassignImportRows": maxJSON, "listOperationRows": maxJSON,
}

const (
	// streamLimit bounds the whole: a gigabyte at five megabits a second.
	streamLimit = 30 * time.Minute
	// stallLimit bounds the time in which nothing moves.
	stallLimit = time.Minute
)

// stream has the server's time-outs count from the last byte instead of the first.
func stream(c echo.Context) {
	rc := http.NewResponseController(c.Response().Writer)
	c.Request().Body = &movingBody{c.Request().Body, rc}
	c.Response().Writer = &movingWriter{c.Response().Writer, rc}
}

type movingBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read reads, and gives the connection time for more. Where deadlines can't be set there are none.
func (b *movingBody) Read(p []byte) (int, error) {
	until := time.Now().Add(stallLimit)
	_ = b.rc.SetReadDeadline(until)
	_ = b.rc.SetWriteDeadline(until.Add(stallLimit)) // the answer comes after the last byte
	return b.ReadCloser.Read(p)
}

type movingWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write writes, and gives the connection time for it.
func (w *movingWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(stallLimit))
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *movingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type acceptKey struct{}

// wantsCSV reports whether the caller prefers CSV to JSON where both can be had.
func wantsCSV(ctx context.Context) bool {
	accept, _ := ctx.Value(acceptKey{}).(string)
	return accept != "" && accepts(accept, []string{csvMedia}) && !accepts(accept, []string{"application/json"})
}

const csvMedia = "text/csv"

// written hands over what write writes, as it is written.
func written(write func(io.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(write(w)) }()
	return r
}
