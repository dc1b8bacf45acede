package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// rawTextMappers makes kong take texts from the command line, the environment and config
// files as they are. Its own mappers pass each text through JSON, which replaces bytes that
// are not UTF-8, and such bytes are legal in file names and URLs.
func rawTextMappers() kong.Option {
	options := []kong.Option{
		kong.KindMapper(reflect.String, textMapper(func(_ *kong.Value, to reflect.Value, text string) error {
			to.SetString(text)
			return nil
		})),
		kong.NamedMapper("path", textMapper(func(v *kong.Value, to reflect.Value, path string) error {
			if path == "" && v.HasDefault { // an empty environment variable keeps the default
				return nil
			}
			if path != "-" {
				path = kong.ExpandPath(path)
			}
			to.SetString(path)
			return nil
		})),
		kong.TypeMapper(reflect.TypeFor[header](), textMapper(func(_ *kong.Value, to reflect.Value, text string) error {
			return to.Addr().Interface().(*header).UnmarshalText([]byte(text))
		})),
		kong.TypeMapper(reflect.TypeFor[userLogin](), textMapper(func(_ *kong.Value, to reflect.Value, text string) error {
			return to.Addr().Interface().(*userLogin).UnmarshalText([]byte(text))
		})),
		kong.TypeMapper(reflect.TypeFor[secretFile](), textMapper(func(_ *kong.Value, to reflect.Value, text string) error {
			return to.Addr().Interface().(*secretFile).UnmarshalText([]byte(text))
		})),
	}
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, o := range options {
			if err := o.Apply(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// textMapper returns a mapper that passes the text of an argument to set, unchanged.
func textMapper(set func(v *kong.Value, to reflect.Value, text string) error) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, to reflect.Value) error {
		token, err := ctx.Scan.PopValue("string")
		if err != nil {
			return err
		}
		return set(ctx.Value, to, fmt.Sprint(token.Value))
	})
}

// guards are the options that protect a download or its user, and that protect nothing if their
// argument is empty, most likely because of an empty variable of a shell. The values describe the effect
// of an empty argument.
var guards = map[string]string{
	"--checksum": "check nothing", "--checksums": "check nothing", "--sha256": "check nothing", "--expect": "check nothing",
	"--proxy": "use no proxy", "--interface": "use any interface", "--start-at": "start at once",
}

// checkGuards returns an error if a guard has an empty argument on the command line. In the
// environment, an empty variable is as good as none.
func checkGuards(args []string) error {
	for i, arg := range args {
		if arg == "--" {
			return nil
		}
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if does, ok := guards[name]; ok && strings.Trim(value, " \t\r\n\"'`,") == "" {
			return fmt.Errorf("%s has an empty value, which would %s; leave the option out if that is meant", name, does)
		}
	}
	return nil
}
