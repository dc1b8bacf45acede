package main

// This file is the terminal as a full screen: it draws frames, reads keys, and gives the terminal back
// as it was.

import (
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/term"
)

// Escape sequences of a full screen (xterm control sequences, DECSET 1049 and 25).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // another screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
)

// A screen owns a terminal until close. Its methods are for one goroutine, except for close.
type screen struct {
	in, out *os.File
	keys    chan key       // closed when the input ends; nil if the input is no terminal
	signals chan os.Signal // to be given to pass

	last []string // lines of the last frame; nil if the terminal must be cleared

	mu    sync.Mutex
	saved *term.State // of in; nil after close, and if in is no terminal; guarded by mu
	open  bool        // guarded by mu
}

// openScreen takes over the terminal out. If in is a terminal too, its keys are read. close must be
// called in the end, also after a panic.
func openScreen(in, out *os.File) (*screen, error) {
	s := &screen{in: in, out: out, signals: make(chan os.Signal, 1)}
	if err := s.enter(); err != nil {
		return nil, err
	}
	s.catch()
	if term.IsTerminal(int(in.Fd())) {
		s.keys = make(chan key)
		go s.read() // ends with the input, or with the process: a read of a terminal cannot be interrupted
	}
	return s, nil
}

// enter prepares the terminal.
func (s *screen) enter() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term.IsTerminal(int(s.in.Fd())) {
		if s.saved, err = term.MakeRaw(int(s.in.Fd())); err != nil {
			return err
		}
	}
	s.open, s.last = true, nil
	io.WriteString(s.out, enterScreen)
	return nil
}

// leave gives the terminal back as it was. It does nothing if it has been given back.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return
	}
	s.open = false
	io.WriteString(s.out, leaveScreen)
	if s.saved != nil {
		term.Restore(int(s.in.Fd()), s.saved)
	}
}

// close gives the terminal back for good. It may be called again, and by any goroutine.
func (s *screen) close() {
	signal.Stop(s.signals)
	s.leave()
}

// closeOnPanic must be deferred by every goroutine that does not close the screen itself: otherwise the text
// of a panic is lost with the screen, and the terminal stays raw.
func (s *screen) closeOnPanic() {
	if v := recover(); v != nil {
		s.close()
		panic(v)
	}
}

// pass lets a signal have its effect while the terminal is given back. If that only stops the program for
// a while, the screen comes back afterwards. fromKey is as in raise.
func (s *screen) pass(sig os.Signal, fromKey bool) {
	s.leave()
	signal.Stop(s.signals)
	raise(sig, fromKey)
	s.catch()
	s.enter() // if the terminal is gone, the end of the keys follows
}

// catch makes signals receive screenSignals. Without any, signal.Notify would catch all.
func (s *screen) catch() {
	if len(screenSignals) > 0 {
		signal.Notify(s.signals, screenSignals...)
	}
}

// forget makes the next frame draw all lines again.
func (s *screen) forget() { s.last = nil }

// show draws a frame. Lines that have not changed are not drawn again, so that a slow line shows little
// traffic and a terminal does not flicker.
func (s *screen) show(lines []string) {
	var b strings.Builder
	if len(s.last) != len(lines) { // the window has another size
		s.last = make([]string, len(lines))
		b.WriteString("\x1b[2J")
	}
	b.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		if line != s.last[i] {
			b.WriteString(line + "\x1b[K")
		}
	}
	s.last = append([]string{}, lines...)
	io.WriteString(s.out, b.String())
}

// read sends the keys until the input ends.
func (s *screen) read() {
	defer s.closeOnPanic()
	defer close(s.keys)
	buf := make([]byte, 256)
	rest := ""
	for {
		n, err := s.in.Read(buf)
		var keys []key
		keys, rest = parseKeys(rest + string(buf[:n]))
		for _, k := range keys {
			s.keys <- k
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// A key is a character, or one of the names below.
type key string

const (
	keyUp        key = "up"
	keyDown      key = "down"
	keyDelete    key = "delete"
	keyInterrupt key = "interrupt" // Ctrl-C
	keyEnd       key = "end"       // Ctrl-D
	keySuspend   key = "suspend"   // Ctrl-Z
	keyRedraw    key = "redraw"    // Ctrl-L
	keyOther     key = "other"     // any other escape sequence or control character
)

// parseKeys returns the keys of the bytes that a terminal has sent. rest is the beginning of an escape
// sequence whose end has not come.
func parseKeys(text string) (keys []key, rest string) {
	control := map[byte]key{3: keyInterrupt, 4: keyEnd, 26: keySuspend, 12: keyRedraw, 14: keyDown, 16: keyUp}
	sequences := map[string]key{"\x1b[A": keyUp, "\x1bOA": keyUp, "\x1b[B": keyDown, "\x1bOB": keyDown, "\x1b[3~": keyDelete}
	for text != "" {
		if text[0] == 0x1b && len(text) > 1 && text[1] == 0x1b { // Esc alone, twice
			keys, text = append(keys, keyOther), text[1:]
			continue
		}
		if n := escapeLength(text); n > 0 {
			k, ok := sequences[text[:n]]
			if !ok {
				k = keyOther
			}
			keys, text = append(keys, k), text[n:]
			continue
		} else if n < 0 {
			return keys, text
		}
		c := text[0]
		k, ok := control[c]
		switch {
		case ok:
		case c < ' ' || c >= 0x7f:
			k = keyOther
		default:
			k = key(c)
		}
		keys, text = append(keys, k), text[1:]
	}
	return keys, ""
}

// escapeLength returns the length of the escape sequence at the beginning of text: 0 if there is none,
// and -1 if its end is missing. A sequence is Esc [ with parameters and a letter (ECMA-48 §5.4), Esc O
// with a letter, or Esc with one character.
func escapeLength(text string) int {
	switch {
	case text[0] != 0x1b:
		return 0
	case len(text) == 1:
		return -1
	case text[1] == '[':
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 {
				return i + 1
			}
		}
		return -1
	case text[1] == 'O':
		if len(text) == 2 {
			return -1
		}
		return 3
	}
	return 2
}
