//go:build !windows

package main

import "os"

// understandsEscapes reports whether the terminal tty understands escape sequences. Without TERM nobody
// knows, as for the output of some editors and build services.
func understandsEscapes(*os.File) bool {
	name := os.Getenv("TERM")
	return name != "" && name != "dumb"
}
