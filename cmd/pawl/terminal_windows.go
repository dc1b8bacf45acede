package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// understandsEscapes reports whether the console tty understands escape sequences. It turns them on,
// which older consoles refuse.
func understandsEscapes(tty *os.File) bool {
	if os.Getenv("TERM") == "dumb" {
		return false
	}
	console := windows.Handle(tty.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
