//go:build !windows

package main

import "os"

// understandsEscapes reports whether the terminal tty understands escape sequences. All do that have
// another name than "dumb".
func understandsEscapes(*os.File) bool { return os.Getenv("TERM") != "dumb" }
