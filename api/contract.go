package api

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

//go:embed openapi.yaml
var contractText []byte

// maxJSON bounds JSON bodies: a group of 500 items needs some 200 kB.
const maxJSON = 1 << 20

// contract is openapi.yaml at work: requests are checked against it before any handler sees them.
type contract struct {
	json       []byte
	operations map[string]*operation // REST only
}

type operation struct {
	id         string
	mutates    bool
	parameters openapi3.Parameters
	body       *openapi3.RequestBody
	maxBody    int64
	streaming  bool
	produces   []string // media types of what succeeds; none = it has no body
}

func loadContract() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(contractText)
	if err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	text, err := doc.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the contract as JSON: %w", err)
	}
	c := &contract{json: text, operations: map[string]*operation{}}
	for _, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !public[op.OperationID] {
				c.operations[op.OperationID] = newOperation(method, item, op)
			}
		}
	}
	return c, nil
}

func newOperation(method string, item *openapi3.PathItem, op *openapi3.Operation) *operation {
	o := &operation{
		id: op.OperationID, mutates: method != http.MethodGet, maxBody: maxJSON,
		parameters: append(append(openapi3.Parameters{}, item.Parameters...), op.Parameters...),
	}
	if most, ok := streaming[op.OperationID]; ok {
		o.streaming, o.maxBody = true, most
	}
	if op.RequestBody != nil {
		o.body = op.RequestBody.Value
		if o.body.Content.Get(aspenConfig) != nil {
			o.maxBody = intake.MaxConfiguration
		}
	}
	for status, response := range op.Responses.Map() {
		if strings.HasPrefix(status, "2") { // a problem is sent whatever Accept says
			o.produces = slices.AppendSeq(o.produces, maps.Keys(response.Value.Content))
		}
	}
	slices.Sort(o.produces)
	o.produces = slices.Compact(o.produces)
	return o
}

const (
	aspenConfig  = "application/x-apple-aspen-config"
	operationKey = "operation"
)

// negotiated refuses bodies and answers of media types that the operation doesn't know.
func (o *operation) negotiated(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		accept := c.Request().Header.Values("Accept")
		if len(accept) > 0 && len(o.produces) > 0 && !accepts(strings.Join(accept, ","), o.produces) {
			return faultf(codeNotAcceptable, "The answer would be %s, which Accept excludes.", strings.Join(o.produces, " or "))
		}
		given := c.Request().Header.Get("Content-Type")
		if o.body == nil || !o.body.Required && given == "" && c.Request().ContentLength == 0 {
			return next(c)
		}
		media, _, err := mime.ParseMediaType(given)
		if err != nil || o.body.Content[media] == nil {
			known := slices.Sorted(maps.Keys(o.body.Content))
			return faultf(codeUnsupportedMediaType, "The body is sent as %.80q; this address takes %s.", given, strings.Join(known, " or "))
		}
		if c.Request().ContentLength > o.maxBody {
			return &http.MaxBytesError{Limit: o.maxBody}
		}
		return next(c)
	}
}

// accepts reports whether one of the media types satisfies an Accept header; what it ranks doesn't matter, as there is
// one representation of everything.
func accepts(header string, types []string) bool {
	for part := range strings.SplitSeq(header, ",") {
		wanted, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q == 0 {
			continue
		}
		for _, t := range types {
			family, _, _ := strings.Cut(t, "/")
			if wanted == "*/*" || wanted == t || wanted == family+"/*" {
				return true
			}
		}
	}
	return false
}

// checked holds the parameters against the contract, unknown ones included.
func (o *operation) checked(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Set(operationKey, o)
		query := c.QueryParams()
		input := &openapi3filter.RequestValidationInput{
			Request: c.Request(), QueryParams: query,
			Options: &openapi3filter.Options{SkipSettingDefaults: true, SchemaValidationOptions: []openapi3.SchemaValidationOption{times}},
		}
		known := map[string]bool{}
		var faults []fieldFault
		for _, ref := range o.parameters {
			p := ref.Value
			if p.In == openapi3.ParameterInPath {
				continue // the rules know better, and say so in words
			}
			known[p.Name] = known[p.Name] || p.In == openapi3.ParameterInQuery
			if p.In == openapi3.ParameterInQuery && len(query[p.Name]) > 1 && !p.Schema.Value.Type.Is("array") {
				faults = append(faults, fieldFault{p.Name, subject(p.Name) + " is given more than once."})
				continue
			}
			if err := openapi3filter.ValidateParameter(c.Request().Context(), input, p); err != nil {
				faults = append(faults, parameterFault(p.Name, err))
			}
		}
		for name := range query {
			if !known[name] {
				faults = append(faults, fieldFault{name, subject(name) + " is not a parameter of this address."})
			}
		}
		if len(faults) > 0 {
			f := faultf(codeInvalidParameter, "%s", faults[0].detail)
			f.fields = faults
			return f
		}
		return next(c)
	}
}

// Bind reads a JSON body, after the contract: malformed JSON is 400, and whatever the contract doesn't allow, unknown
// fields included, is 422 and named.
func (ct *contract) Bind(into any, c echo.Context) error {
	o, ok := c.Get(operationKey).(*operation)
	if !ok {
		return errors.New("reading a body outside of an operation")
	}
	raw, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return readFault(err)
	}
	switch {
	case len(raw) == 0 && !o.body.Required:
		return io.EOF // by which the generated code knows that there is none
	case len(raw) == 0:
		return faultf(codeInvalidJSON, "The body is empty; it must be a JSON object.")
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return faultf(codeInvalidJSON, "The body is not JSON: %v.", err)
	}
	if faults := o.violations(value); len(faults) > 0 {
		f := faultf(provision.Invalid, "%s", faults[0].detail)
		f.fields = faults
		return f
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return unfit(err)
	}
	return nil
}

// readFault is an error of reading a body: too large, or the caller's connection.
func readFault(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return faultf(codeInvalidJSON, "The body ended early.")
}

// unfit is a value that the contract lets pass but the Go type can't hold, such as a day that no month has.
func unfit(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return faultf(provision.Invalid, "%s can't be read as it is.", subject(mismatch.Field)).at(mismatch.Field)
	}
	return faultf(provision.Invalid, "%s", unreadable(err))
}

func (o *operation) violations(value any) []fieldFault {
	var faults []fieldFault
	if field, found := findNUL(value, ""); found {
		faults = append(faults, fieldFault{field, subject(field) + " holds a NUL character."})
	}
	err := o.body.Content.Get("application/json").Schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.EnableFormatValidation(), times)
	return append(faults, violations(err)...)
}

var rfc3339 = openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringDateTime)

// times holds times against what answers can say: in UTC they are of the years 1 to 9999 (RFC 3339, section 1). One that isn't,
// such as 9999-12-31T23:59:59-12:00, could be kept, and would make an error of every answer that tells it.
var times = openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(text string) error {
	at, err := time.Parse(time.RFC3339, text)
	if year := at.UTC().Year(); err == nil && (year < 1 || year > 9999) {
		return errors.New("the year is none of 1 to 9999 in UTC")
	}
	return rfc3339.Validate(text) // a day that no month has is found by who reads it
}))

// findNUL looks for the one character that JSON can hold and PostgreSQL can't.
func findNUL(value any, at string) (field string, found bool) {
	switch v := value.(type) {
	case string:
		return at, strings.ContainsRune(v, 0)
	case []any:
		for i, inner := range v {
			if field, found = findNUL(inner, fmt.Sprintf("%s[%d]", at, i)); found {
				return field, true
			}
		}
	case map[string]any:
		for name, inner := range v {
			if field, found = findNUL(inner, strings.TrimPrefix(at+"."+name, ".")); found {
				return field, true
			}
		}
	}
	return "", false
}
