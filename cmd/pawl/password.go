package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// errNoTerminal means that nobody can be asked for a password.
var errNoTerminal = errors.New("-u without a password needs a terminal to ask for it")

// askPassword asks on the terminal for the password of a user, and does not show it.
func askPassword(ctx context.Context, user string) (string, error) {
	tty, err := openTerminal()
	if err != nil {
		return "", usageErr{err}
	}
	defer tty.close()
	before, err := term.GetState(tty.fd())
	if err != nil {
		return "", usageErr{errNoTerminal}
	}
	fmt.Fprintf(tty.out, "password for %q: ", printable(user))
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // ends with the line, or with the process
		text, err := term.ReadPassword(tty.fd())
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		fmt.Fprintln(tty.out)
		if a.err != nil {
			return "", usageErr{fmt.Errorf("no password was typed: %w", a.err)}
		}
		return strings.TrimSuffix(string(a.text), "\r"), nil
	case <-ctx.Done(): // Ctrl-C
		term.Restore(tty.fd(), before)
		fmt.Fprintln(tty.out)
		return "", context.Cause(ctx)
	}
}

// A terminal is the terminal of the user, for questions.
type terminal struct {
	in, out *os.File
	close   func()
}

func (t terminal) fd() int { return int(t.in.Fd()) }

// openTerminal returns the terminal: standard input or, if that is a list or a pipe and somebody
// sees the messages, the terminal of the process. The question goes to stderr, because stdout has
// the results.
func openTerminal() (terminal, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return terminal{os.Stdin, os.Stderr, func() {}}, nil
	}
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return terminal{}, errNoTerminal
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return terminal{}, errNoTerminal
	}
	return terminal{f, os.Stderr, func() { f.Close() }}, nil
}
