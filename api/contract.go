package api

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

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
	produces   []string
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
	if op.RequestBody != nil {
		o.body = op.RequestBody.Value
		if o.body.Content.Get(aspenConfig) != nil {
			o.maxBody = intake.MaxConfiguration
		}
	}
	for _, response := range op.Responses.Map() {
		for media := range response.Value.Content {
			o.produces = append(o.produces, media)
		}
	}
	return o
}

const (
	aspenConfig  = "application/x-apple-aspen-config"
	operationKey = "operation"
)

// negotiated refuses bodies and answers of media types that the operation doesn't know.
func (o *operation) negotiated(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if accept := c.Request().Header.Values("Accept"); len(accept) > 0 && !accepts(strings.Join(accept, ","), o.produces) {
			return faultf(codeNotAcceptable, "The answer would be %s, which Accept excludes.", o.produces[0])
		}
		if o.body == nil {
			return next(c)
		}
		given := c.Request().Header.Get("Content-Type")
		media, _, err := mime.ParseMediaType(given)
		if err != nil || o.body.Content[media] == nil {
			var known []string
			for name := range o.body.Content {
				known = append(known, name)
			}
			return faultf(codeUnsupportedMediaType, "The body is sent as %.80q; this address takes %s.", given, strings.Join(known, ", "))
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
			Request: c.Request(), QueryParams: query, Options: &openapi3filter.Options{SkipSettingDefaults: true},
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
				faults = append(faults, fieldFault{p.Name, "is given more than once"})
				continue
			}
			if err := openapi3filter.ValidateParameter(c.Request().Context(), input, p); err != nil {
				faults = append(faults, fieldFault{p.Name, reason(err)})
			}
		}
		for name := range query {
			if !known[name] {
				faults = append(faults, fieldFault{name, "is not a parameter of this address"})
			}
		}
		if len(faults) > 0 {
			f := faultf(codeInvalidParameter, "Parameter %s: %s.", faults[0].field, faults[0].detail)
			f.fields = faults
			return f
		}
		return next(c)
	}
}

// reason is the innermost words of an error of the contract's checker; they never hold the value itself.
func reason(err error) string {
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	switch {
	case errors.As(err, &schema):
		return schema.Reason
	case errors.As(err, &parse) && parse.Reason != "":
		return parse.Reason
	}
	return "has not the form that the contract asks for"
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
	if len(raw) == 0 {
		return faultf(codeInvalidJSON, "The body is empty; it must be a JSON object.")
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return faultf(codeInvalidJSON, "The body is not JSON: %v.", err)
	}
	if faults := o.violations(value); len(faults) > 0 {
		f := faultf(provision.Invalid, "%s: %s.", faults[0].field, faults[0].detail)
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
		return faultf(provision.Invalid, "%s: can't be read as it is.", mismatch.Field).at(mismatch.Field)
	}
	return faultf(provision.Invalid, "A value can't be read: %v.", err)
}

func (o *operation) violations(value any) []fieldFault {
	var faults []fieldFault
	if field, found := findNUL(value, ""); found {
		faults = append(faults, fieldFault{field, "holds a NUL character"})
	}
	err := o.body.Content.Get("application/json").Schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.EnableFormatValidation())
	return append(faults, flatten(err)...)
}

func flatten(err error) []fieldFault {
	if err == nil {
		return nil
	}
	var faults []fieldFault
	var schema *openapi3.SchemaError
	if many, ok := err.(openapi3.MultiError); ok { //nolint:errorlint // the checker's own tree, never wrapped
		for _, one := range many {
			faults = append(faults, flatten(one)...)
		}
		return faults
	}
	if errors.As(err, &schema) {
		return []fieldFault{fieldOf(schema)}
	}
	return []fieldFault{{"body", "has not the form that the contract asks for"}}
}

// unknownField is how the checker says that a field is not in the contract; it points to the object around it.
var unknownField = regexp.MustCompile(`^property "(.+)" is unsupported$`)

// fieldOf writes the place as people do: items[2].name.
func fieldOf(err *openapi3.SchemaError) fieldFault {
	keys, detail := err.JSONPointer(), err.Reason
	if match := unknownField.FindStringSubmatch(detail); match != nil {
		keys, detail = append(keys, match[1]), "is not a field that is known here"
	}
	var b strings.Builder
	for _, key := range keys {
		if _, notIndex := strconv.Atoi(key); notIndex == nil {
			b.WriteString("[" + key + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(key)
	}
	if b.Len() == 0 {
		return fieldFault{"body", detail}
	}
	return fieldFault{b.String(), detail}
}

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
