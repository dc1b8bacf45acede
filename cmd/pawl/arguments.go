package main

// This file is about the texts of the command line, of the environment and of
// config files, which may be any bytes.

import (
	"fmt"
	"reflect"

	"github.com/alecthomas/kong"
)

// rawTexts makes kong take texts as they are. Its own mappers pass each text through
// JSON, which replaces bytes that are not UTF-8.
func rawTextMappers() kong.Option {
	options := []kong.Option{
		kong.KindMapper(reflect.String, textMapper(func(_ *kong.Value, to reflect.Value, text string) error {
			to.SetString(text)
			return nil
		})),
		kong.NamedMapper("path", textMapper(func(v *kong.Value, to reflect.Value, path string) error {
			if path == "" && v.HasDefault { // an empty variable of the environment
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

// mapText returns a mapper that sets a value to a text.
func textMapper(set func(v *kong.Value, to reflect.Value, text string) error) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, to reflect.Value) error {
		token, err := ctx.Scan.PopValue("string")
		if err != nil {
			return err
		}
		return set(ctx.Value, to, fmt.Sprint(token.Value))
	})
}
