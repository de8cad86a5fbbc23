// Package settings reads what an operator set: every setting is a flag and a MUSTER_… variable of the same name, and a
// secret also a …_FILE variable that names a file holding it.
package settings

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/spf13/pflag"
)

// Prefix begins the name of every variable.
const Prefix = "MUSTER_"

// Bind fills target, a pointer to a struct whose fields carry the tags env, envDefault, help and, for secrets,
// secret:"true", from the environment, and adds a flag for each of them: DATABASE_URL becomes --database-url. A flag
// overrides its variable. It fails with a sentence that names the variable at fault.
func Bind(flags *pflag.FlagSet, target any, environ []string) error {
	values := env.ToMap(environ)
	fields := slices.DeleteFunc(reflect.VisibleFields(reflect.TypeOf(target).Elem()), func(f reflect.StructField) bool { return f.Anonymous })
	for _, f := range fields {
		if err := readSecretFile(f, values); err != nil {
			return err
		}
	}
	if err := env.ParseWithOptions(target, env.Options{Environment: values, Prefix: Prefix}); err != nil {
		return readable(err, fields, values)
	}
	for _, f := range fields {
		addFlag(flags, f, reflect.ValueOf(target).Elem().FieldByIndex(f.Index).Addr().Interface())
	}
	return nil
}

func readSecretFile(f reflect.StructField, values map[string]string) error {
	if f.Tag.Get("secret") != "true" {
		return nil
	}
	name := Prefix + f.Tag.Get("env")
	path := values[name+"_FILE"]
	if path == "" {
		return nil
	}
	if values[name] != "" {
		return fmt.Errorf("%s and %s_FILE are both set; set one of them", name, name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the file that %s_FILE names: %w", name, err)
	}
	values[name] = strings.TrimRight(string(content), "\r\n")
	return nil
}

func addFlag(flags *pflag.FlagSet, f reflect.StructField, field any) {
	variable := f.Tag.Get("env")
	name := strings.ReplaceAll(strings.ToLower(variable), "_", "-")
	usage := f.Tag.Get("help") + " [" + Prefix + variable + "]"
	switch p := field.(type) {
	case *string:
		flags.StringVar(p, name, *p, usage)
	case *bool:
		flags.BoolVar(p, name, *p, usage)
	case *int:
		flags.IntVar(p, name, *p, usage)
	case *time.Duration:
		flags.DurationVar(p, name, *p, usage)
	case *[]string:
		flags.StringSliceVar(p, name, *p, usage)
	case *[]time.Duration:
		flags.DurationSliceVar(p, name, *p, usage)
	default:
		panic(fmt.Sprintf("settings: no flag for a field of type %T", field))
	}
	if f.Tag.Get("secret") == "true" {
		flags.Lookup(name).DefValue = "" // --help must not show it
	}
}

// readable names the variables at fault, where the library names fields of ours.
func readable(err error, fields []reflect.StructField, values map[string]string) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return fmt.Errorf("reading the settings: %w", err)
	}
	var sentences []error
	for _, one := range all.Errors {
		var parse env.ParseError
		if !errors.As(one, &parse) {
			sentences = append(sentences, one)
			continue
		}
		at := slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Name == parse.Name })
		name := Prefix + fields[at].Tag.Get("env")
		sentences = append(sentences, fmt.Errorf("%s is %q; give %s", name, values[name], form(fields[at].Type)))
	}
	return errors.Join(sentences...)
}

// form says what a setting's value looks like.
func form(t reflect.Type) string {
	switch reflect.Zero(t).Interface().(type) {
	case time.Duration:
		return "a time such as 30m or 6h"
	case []time.Duration:
		return "times such as 1m,5m,1h"
	case int:
		return "a number"
	case bool:
		return "true or false"
	}
	return "another value"
}
