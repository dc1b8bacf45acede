package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plainArgument matches arguments that a shell takes as they are.
var plainArgument = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// shellQuote returns an argument as a user types it in a POSIX shell, for a hint. It is printable.
func shellQuote(arg string) string {
	switch {
	case plainArgument.MatchString(arg):
		return arg
	case printable(arg) == arg:
		return quoted(arg)
	}
	return dollarQuoted(arg)
}

// quoted returns text as one word of a shell, in single quotes.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// dollarQuoted returns text as one word of a shell, in dollar-single-quotes (POSIX.1-2024, 2.2.4), which can write
// any byte.
func dollarQuoted(text string) string {
	var b strings.Builder
	b.WriteString("$'")
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch isByte := r == utf8.RuneError && size == 1; {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + string(r))
		case unicode.IsPrint(r) && !isByte:
			b.WriteRune(r)
		default:
			for _, c := range []byte(text[i : i+size]) {
				fmt.Fprintf(&b, `\%03o`, c) // and not \xHH, which may go on with the next letter
			}
		}
	}
	return b.String() + "'"
}
