package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// importFile takes an upload.
func (r *rest) importFile(ctx context.Context, f bulk.Format, p CreateAssignmentImportParams, body io.Reader) (Operation, error) {
	o, err := r.Intake.Import(ctx, actorOf(ctx), intake.ImportWish{
		Format: f, FileName: value(p.FileName), ExpectedBy: p.ExpectedBy, Force: value(p.Force),
	}, interruptible{body})
	return renderOperation(o), err
}

// interruptible tells a caller's broken connection from trouble of ours.
type interruptible struct{ body io.Reader }

// Read reads the body.
func (i interruptible) Read(p []byte) (int, error) {
	n, err := i.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = readFault(err)
	}
	return n, err
}

// imported is an import of that kind; any other operation isn't found at its address.
func (r *rest) imported(ctx context.Context, id, kind string) (store.Operation, error) {
	o, err := r.DB.Operation(ctx, id)
	if err == nil && (!o.Import || o.Kind != kind) {
		return o, provision.Errorf(provision.NotFound, "No import of this kind has the id %.80q.", id)
	}
	return o, err
}

// result is an operation's rows as CSV, with what became of them.
func (r *rest) result(ctx context.Context, o store.Operation) io.ReadCloser {
	header, layout := o.File.Header, bulk.Layout{BOM: o.File.BOM}
	if o.Import {
		layout.Delimiter = delimiterOf(o)
	} else {
		header = []string{bulk.SerialNumber, "Outcome", "Code"}
	}
	return written(func(w io.Writer) error {
		out, err := bulk.NewResultWriter(w, header, layout)
		if err != nil {
			return err
		}
		err = r.DB.EachRow(ctx, o, func(row store.OperationRow) error {
			return out.Write(resultOf(o, row), r.linkTo(row.Serial))
		})
		return errors.Join(err, out.Flush())
	})
}

func delimiterOf(o store.Operation) rune {
	d, _ := utf8.DecodeRuneInString(o.File.Delimiter)
	return d
}

func (r *rest) linkTo(serial string) string {
	if _, err := provision.ParseSerial(serial); err != nil {
		return ""
	}
	return r.URL + "/v1/devices/" + serial
}

// resultOf is a row with its verdict, to which what became of it is added.
func resultOf(o store.Operation, row store.OperationRow) bulk.Row {
	out := bulk.Row{Line: int(row.Line), Record: row.Record, Verdict: bulk.Verdict(row.Verdict)}
	for _, p := range problemsOf(row) {
		out.Problems = append(out.Problems, bulk.Problem{Column: p.Column, Code: provision.Code(p.Code), Severity: bulk.Verdict(p.Severity), Detail: p.Detail})
	}
	if !o.Import {
		shown := renderOperationRow(row)
		out.Record = []string{row.Serial, string(shown.Outcome), value(shown.Code)}
	}
	if row.Outcome == store.RowRefused {
		out.Add(bulk.Problem{Code: provision.Code(row.Code), Severity: bulk.Fault, Detail: row.Detail})
	}
	if row.UndoDetail != "" {
		out.Add(bulk.Problem{Code: store.NotUndoable, Severity: bulk.Notice, Detail: row.UndoDetail})
	}
	return out
}

func attachment(o store.Operation) *string {
	name := strings.TrimSuffix(path.Base(o.File.Name), ".csv")
	if o.File.Name == "" {
		name = o.ID
	}
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": name + "-result.csv"})
	if disposition == "" {
		disposition = fmt.Sprintf("attachment; filename=%q", o.ID+"-result.csv")
	}
	return &disposition
}
