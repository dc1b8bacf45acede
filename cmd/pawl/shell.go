package main

import (
	"regexp"
	"strings"
)

// plainArgument matches arguments that a shell takes as they are.
var plainArgument = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// shellQuote returns an argument as a user types it in a POSIX shell, for a hint.
func shellQuote(arg string) string {
	if plainArgument.MatchString(arg) {
		return arg
	}
	return "'" + strings.ReplaceAll(printable(arg), "'", `'\''`) + "'"
}
