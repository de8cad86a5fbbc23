package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// DocumentsPath is below which devices fetch the documents that were uploaded.
const DocumentsPath = "/documents"

// library hands documents to devices. A device shows no identity when it fetches a book, so the token in its address is what
// lets it in: see [provision.DocumentLink].
type library struct{ db *store.DB }

func mountDocuments(e *echo.Echo, c Config) {
	l := library{c.DB}
	e.GET(DocumentsPath+"/*", l.lend)
	e.HEAD(DocumentsPath+"/*", l.lend)
}

var mediaTypes = map[provision.DocumentFormat]string{
	provision.PDF: "application/pdf", provision.EPUB: "application/epub+zip", provision.IBooks: "application/x-ibooks+zip",
}

// lend answers whole or in parts, so that a download that broke off goes on where it was. Whatever is wrong with the address
// gives the same answer.
func (l library) lend(c echo.Context) error {
	c.Set(routeKey, DocumentsPath)
	ctx := c.Request().Context()
	f, err := l.db.LinkedDocument(ctx, c.QueryParam("token"))
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", mediaTypes[f.Format])
	h.Set("ETag", f.ETag())
	h.Set("Cache-Control", "private")
	stream(c)
	http.ServeContent(c.Response(), c.Request(), "", f.CreatedAt, l.db.OpenDocument(ctx, f))
	return nil
}
