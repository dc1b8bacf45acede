package main

import (
	"encoding/json"
	"io"
)

// newJSONEncoder returns an encoder of JSON lines. It leaves <, > and & in texts as they are, because the
// output is not read by browsers.
func newJSONEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// printJSONLines prints a line of JSON for each row on stdout.
func printJSONLines[T any](out *printer, rows []T) error {
	enc := newJSONEncoder(out.stdout)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
