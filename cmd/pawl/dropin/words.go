package dropin

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Words splits a command into words, as the shell does for which it was written: bash, or cmd.exe with
// carets, as browsers write their "copy as cURL". Nothing is expanded: a "$x" stays. It is an error if a
// quote is not closed, or if there is a second command.
func Words(command string) ([]string, error) {
	if isForCmd(command) {
		return cmdWords(command)
	}
	return bashWords(command)
}

// isForCmd reports whether a command was written for cmd.exe: its first quote has a caret before it, or
// a caret ends a line or escapes a percent sign, and there are no single quotes before that.
func isForCmd(command string) bool {
	quote := strings.IndexAny(command, `"'`)
	for _, sign := range []string{`^"`, "^\n", "^\r\n", "^%"} {
		at := strings.Index(command, sign)
		if at >= 0 && (quote < 0 || at < quote || command[quote] == '"') {
			return true
		}
	}
	return false
}

// errUnclosed means that a command ends inside of quotes.
var errUnclosed = errors.New("a quote is not closed")

// errSecond means that there is more than one command.
var errSecond = errors.New("there is more than one command")

// A splitter splits the text of a command.
type splitter struct {
	text  string
	words []string
	word  []byte
	open  bool // a word has begun
}

// end ends the current word, if there is one.
func (s *splitter) end() {
	if s.open {
		s.words = append(s.words, string(s.word))
	}
	s.word, s.open = nil, false
}

func (s *splitter) put(b ...byte) { s.word, s.open = append(s.word, b...), true }

// next removes n bytes from the beginning of the text.
func (s *splitter) next(n int) string {
	head := s.text[:n]
	s.text = s.text[n:]
	return head
}

func bashWords(command string) ([]string, error) {
	s := splitter{text: command}
	for s.text != "" {
		if err := s.bashNext(); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.words, nil
}

// bashNext reads the next character, or all of a quoted part.
func (s *splitter) bashNext() error {
	switch c := s.text[0]; {
	case strings.HasPrefix(s.text, "$'"):
		s.next(2)
		return s.ansiQuoted()
	case strings.HasPrefix(s.text, `$"`):
		s.next(1)
		return nil
	case c == '\'':
		s.next(1)
		end := strings.IndexByte(s.text, '\'')
		if end < 0 {
			return errUnclosed
		}
		s.put([]byte(s.next(end + 1)[:end])...)
	case c == '"':
		s.next(1)
		return s.doubleQuoted()
	case strings.HasPrefix(s.text, "\\\n"), strings.HasPrefix(s.text, "\\\r\n"):
		s.next(strings.IndexByte(s.text, '\n') + 1)
	case c == '\\' && len(s.text) > 1:
		s.next(1)
		s.put(s.next(1)[0])
	case c == ' ' || c == '\t':
		s.next(1)
		s.end()
	case c == '#' && !s.open:
		s.next(len(strings.SplitAfterN(s.text, "\n", 2)[0]))
	case c == '\n' || c == '\r', c == ';' || c == '|', c == '&' && s.endsHere():
		if s.end(); strings.Trim(s.text, " \t\r\n;&|") != "" && (c == '\n' || c == '\r') && len(s.words) == 0 {
			s.next(1) // an empty line before the command
			return nil
		}
		if strings.Trim(s.text, " \t\r\n;&") != "" {
			return errSecond
		}
		s.text = ""
	default:
		s.put(s.next(1)[0])
	}
	return nil
}

// endsHere reports whether a "&" ends the command. Within a URL without quotes it is most likely a part of that.
func (s *splitter) endsHere() bool {
	return !s.open || len(s.text) == 1 || strings.IndexByte(" \t\r\n&", s.text[1]) >= 0
}

// doubleQuoted reads the rest of a part in double quotes.
func (s *splitter) doubleQuoted() error {
	for s.put(); s.text != ""; {
		switch c := s.next(1)[0]; {
		case c == '"':
			return nil
		case c == '\\' && s.text != "" && strings.IndexByte("$`\"\\", s.text[0]) >= 0:
			s.put(s.next(1)[0])
		case c == '\\' && strings.HasPrefix(s.text, "\n"):
			s.next(1)
		default:
			s.put(c)
		}
	}
	return errUnclosed
}

// ansiEscapes are the escapes of one character in $'…'.
var ansiEscapes = map[byte]byte{'a': 7, 'b': 8, 'e': 27, 'E': 27, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\', '\'': '\'', '"': '"', '?': '?'}

// ansiQuoted reads the rest of a part in $'…'.
func (s *splitter) ansiQuoted() error {
	for s.put(); s.text != ""; {
		switch c := s.next(1)[0]; {
		case c == '\'':
			return nil
		case c == '\\' && s.text != "":
			s.ansiEscape()
		default:
			s.put(c)
		}
	}
	return errUnclosed
}

// ansiEscape reads an escape in $'…', whose backslash has been read.
func (s *splitter) ansiEscape() {
	c := s.next(1)[0]
	if plain, ok := ansiEscapes[c]; ok {
		s.put(plain)
		return
	}
	switch c {
	case 'x':
		if n, ok := s.number(2, 16); ok {
			s.put(byte(n))
			return
		}
	case 'u', 'U':
		if n, ok := s.number(map[byte]int{'u': 4, 'U': 8}[c], 16); ok {
			s.put(utf8.AppendRune(nil, rune(n))...)
			return
		}
	case 'c':
		if s.text != "" {
			s.put(s.next(1)[0] & 0x1f)
			return
		}
	case '0', '1', '2', '3', '4', '5', '6', '7':
		s.text = string(c) + s.text
		n, _ := s.number(3, 8)
		s.put(byte(n))
		return
	}
	s.put('\\', c)
}

// number reads at most n digits.
func (s *splitter) number(n, base int) (int64, bool) {
	digits := 0
	for digits < n && digits < len(s.text) {
		if _, err := strconv.ParseUint(s.text[digits:digits+1], base, 8); err != nil {
			break
		}
		digits++
	}
	if digits == 0 {
		return 0, false
	}
	v, _ := strconv.ParseInt(s.next(digits), base, 64)
	return v, true
}

// cmdWords splits a command for cmd.exe. That removes carets first, and the program then splits the rest
// by the rules of Microsoft's C library.
func cmdWords(command string) ([]string, error) {
	plain, err := withoutCarets(strings.Trim(command, " \t\r\n"))
	if err != nil {
		return nil, err
	}
	s := splitter{text: plain}
	quoted := false
	for s.text != "" {
		slashes := len(s.text) - len(strings.TrimLeft(s.text, `\`))
		if slashes > 0 {
			s.next(slashes)
			if !strings.HasPrefix(s.text, `"`) {
				s.put([]byte(strings.Repeat(`\`, slashes))...)
				continue
			}
			s.put([]byte(strings.Repeat(`\`, slashes/2))...)
			if slashes%2 == 1 {
				s.put(s.next(1)[0])
			}
			continue
		}
		switch c := s.next(1)[0]; {
		case c == '"' && quoted && strings.HasPrefix(s.text, `"`):
			s.put(s.next(1)[0])
		case c == '"':
			quoted = !quoted
			s.put()
		case (c == ' ' || c == '\t') && !quoted:
			s.end()
		default:
			s.put(c)
		}
	}
	if quoted {
		return nil, errUnclosed
	}
	s.end()
	return s.words, nil
}

// withoutCarets removes the carets of a command as cmd.exe does: outside of double quotes a caret
// protects the character behind it, and joins lines.
func withoutCarets(command string) (string, error) {
	var b strings.Builder
	quoted := false
	for command != "" {
		c := command[0]
		command = command[1:]
		switch {
		case c == '"':
			quoted = !quoted
			b.WriteByte(c)
		case c == '^' && !quoted:
			command = strings.TrimPrefix(command, "\r")
			command = strings.TrimPrefix(command, "\n")
			if command != "" && command[0] != ' ' && command[0] != '\t' {
				b.WriteByte(command[0])
				command = command[1:]
			}
		case (c == '\n' || c == '\r' || c == '&' || c == '|') && !quoted:
			if strings.Trim(command, " \t\r\n&|") != "" {
				return "", errSecond
			}
			return b.String(), nil
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}
