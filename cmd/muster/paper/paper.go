// Package paper writes small PDF files for demonstrations and rehearsals, which shouldn't need one that somebody else wrote.
package paper

import (
	"bytes"
	"fmt"
	"strings"
)

// lineHeight is the distance of lines in points.
const lineHeight = 24

// PDF is one page with a title and lines below it (ISO 32000). They are of ASCII.
func PDF(title string, lines ...string) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "BT\n/F1 24 Tf\n72 700 Td\n%s Tj\n/F1 14 Tf\n", literal(title))
	for _, line := range lines {
		fmt.Fprintf(&text, "0 -%d Td\n%s Tj\n", lineHeight, literal(line))
	}
	text.WriteString("ET\n")
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 4 0 R >> >> /Contents 5 0 R >>",
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%sendstream", text.Len(), text.String()),
		fmt.Sprintf("<< /Title %s >>", literal(title)),
	}
	var out bytes.Buffer
	out.WriteString("%PDF-1.4\n")
	offsets := make([]int, len(objects))
	for i, o := range objects {
		offsets[i] = out.Len()
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	table := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, at := range offsets {
		fmt.Fprintf(&out, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&out, "trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, len(objects), table)
	return out.Bytes()
}

// literal writes a string of a PDF.
func literal(s string) string {
	return "(" + strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(s) + ")"
}
