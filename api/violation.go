package api

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// The contract's checker speaks of schemas; what follows says the same to people. No sentence holds a value that was
// sent: it may be a secret.

// subject names the place at fault at the beginning of a sentence.
func subject(field string) string {
	if field == "" {
		return "The body"
	}
	return strconv.Quote(field)
}

// parameterFault is what is wrong with a parameter.
func parameterFault(name string, err error) fieldFault {
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	switch {
	case errors.As(err, &schema):
		return fieldFault{name, rule(subject(name), schema)}
	case errors.As(err, &parse) && parse.Kind == openapi3filter.KindInvalidFormat:
		if kind, ok := strings.CutPrefix(parse.Reason, "an invalid "); ok {
			return fieldFault{name, subject(name) + " must be " + withArticle(kind) + "."}
		}
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return fieldFault{name, subject(name) + " is empty."}
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return fieldFault{name, subject(name) + " is missing."}
	}
	return fieldFault{name, subject(name) + " has not the form that the contract asks for."}
}

// violations are the faults in the checker's tree of errors.
func violations(err error) []fieldFault {
	if err == nil {
		return nil
	}
	var faults []fieldFault
	var schema *openapi3.SchemaError
	if many, ok := err.(openapi3.MultiError); ok { //nolint:errorlint // the checker's own tree, never wrapped
		for _, one := range many {
			faults = append(faults, violations(one)...)
		}
		return faults
	}
	if errors.As(err, &schema) {
		return []fieldFault{bodyFault(schema)}
	}
	return []fieldFault{{"body", "The body has not the form that the contract asks for."}}
}

// unknownField is how the checker says that a field is not in the contract; it points to the object around it.
var unknownField = regexp.MustCompile(`^property "(.+)" is unsupported$`)

func bodyFault(err *openapi3.SchemaError) fieldFault {
	keys := err.JSONPointer()
	unknown := unknownField.FindStringSubmatch(err.Reason)
	if unknown != nil {
		keys = append(keys, unknown[1])
	}
	field := place(keys)
	switch {
	case unknown != nil:
		return fieldFault{field, subject(field) + " is not a known field."}
	case field == "":
		return fieldFault{"body", rule(subject(field), err)}
	}
	return fieldFault{field, rule(subject(field), err)}
}

// place writes a path as people do: items[2].name.
func place(keys []string) string {
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
	return b.String()
}

// rule is the sentence about a rule of the contract that was broken.
func rule(subject string, err *openapi3.SchemaError) string {
	s := err.Schema
	if err.SchemaField == "required" {
		return subject + " is missing."
	}
	if s == nil {
		return subject + " has not the form that the contract asks for."
	}
	switch err.SchemaField {
	case "type", "nullable":
		return fmt.Sprintf("%s must be %s.", subject, kindOf(s))
	case "enum":
		return fmt.Sprintf("%s must be %s.", subject, oneOf(s.Enum))
	case "minLength":
		if s.MinLength == 1 {
			return subject + " is empty."
		}
		return fmt.Sprintf("%s must have %d characters or more.", subject, s.MinLength)
	case "maxLength":
		return fmt.Sprintf("%s is longer than %d characters.", subject, *s.MaxLength)
	case "minimum":
		return fmt.Sprintf("%s must be %g or more.", subject, *s.Min)
	case "maximum":
		return fmt.Sprintf("%s must be %g or less.", subject, *s.Max)
	case "minItems":
		return fmt.Sprintf("%s must have at least %s.", subject, entries(s.MinItems))
	case "maxItems":
		return fmt.Sprintf("%s has more than %s.", subject, entries(*s.MaxItems))
	case "pattern":
		return subject + " holds characters that are not allowed there, such as blanks."
	case "format":
		if s.Format == "date-time" {
			return subject + " must be a time such as " + exampleTime + "."
		}
	}
	return subject + " has not the form that the contract asks for."
}

const exampleTime = "2026-03-01T12:00:00Z"

func entries(n uint64) string {
	if n == 1 {
		return "one entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func kindOf(s *openapi3.Schema) string {
	for _, kind := range s.Type.Slice() {
		return withArticle(kind)
	}
	return "something else"
}

// withArticle is a type of JSON in words.
func withArticle(kind string) string {
	switch kind {
	case openapi3.TypeString:
		return "text"
	case openapi3.TypeInteger:
		return "a whole number"
	case openapi3.TypeNumber:
		return "a number"
	case openapi3.TypeBoolean:
		return "true or false"
	case openapi3.TypeArray:
		return "a list"
	case openapi3.TypeObject:
		return "an object"
	}
	return "something else"
}

func oneOf(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// unreadable is what is wrong with a value that the contract lets pass and the Go type can't hold, such as a day that no
// month has.
func unreadable(err error) string {
	var noTime *time.ParseError
	if errors.As(err, &noTime) {
		return "A time in the body is none that exists; write times as " + exampleTime + "."
	}
	return "A value in the body can't be read."
}
