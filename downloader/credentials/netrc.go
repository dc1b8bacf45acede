package credentials

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Netrc has the logins of a netrc file, in the order of the file. The zero Netrc has none.
type Netrc struct{ entries []netrcEntry }

// A netrcEntry is the login for one machine, or for all that have none of their own.
type netrcEntry struct {
	machine         string // host name in lower case
	isDefault       bool   // for all machines
	login, password string
	hasLogin        bool
	isEmpty         bool // neither a login nor a password
}

// ParseNetrc reads a netrc file: the words machine NAME or default, then login NAME, password WORD and
// account WORD in any order. There is no standard; the format is the one of ftp(1), with the words in
// quotation marks that curl accepts. A "#" in place of a keyword begins a comment. The text of a
// macdef, up to the next empty line, is skipped. Unknown words are skipped, too.
//
// The error names the line of a keyword without its value, or of an open quotation mark.
func ParseNetrc(text []byte) (Netrc, error) {
	r := netrcReader{rest: bytes.TrimPrefix(text, []byte("\ufeff")), line: 1}
	var n Netrc
	for {
		word, ok := r.keyword()
		if !ok {
			return n, r.err
		}
		switch word {
		case "machine":
			n.entries = append(n.entries, netrcEntry{machine: hostName(r.value(word)), isEmpty: true})
		case "default":
			n.entries = append(n.entries, netrcEntry{isDefault: true, isEmpty: true})
		case "login", "password", "account":
			value := r.value(word)
			if len(n.entries) > 0 && r.err == nil {
				n.entries[len(n.entries)-1].set(word, value)
			}
		case "macdef":
			r.value(word)
			r.skipMacro()
		}
	}
}

// set takes the value of a keyword.
func (e *netrcEntry) set(keyword, value string) {
	switch keyword {
	case "login":
		e.login, e.hasLogin, e.isEmpty = value, true, false
	case "password":
		e.password, e.isEmpty = value, false
	}
}

// Find returns the login for a host without its port, for example "example.org" or "::1". If user
// is not "", only an entry for that user, or without a name, counts. The first entry for the
// machine that fits is used, and "default" only if there is none.
func (n Netrc) Find(host, user string) (login, password string, ok bool) {
	host = hostName(host)
	fits := func(e netrcEntry) bool { return user == "" || !e.hasLogin || e.login == user }
	i := slices.IndexFunc(n.entries, func(e netrcEntry) bool { return !e.isDefault && e.machine == host && fits(e) })
	if i < 0 {
		i = slices.IndexFunc(n.entries, func(e netrcEntry) bool { return e.isDefault && fits(e) })
	}
	if i < 0 || n.entries[i].isEmpty {
		return "", "", false
	}
	login = n.entries[i].login
	if user != "" {
		login = user
	}
	return login, n.entries[i].password, true
}

// hostName returns a host name as it is compared.
func hostName(s string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(s, "[]"), "."))
}

// netrcKeywords are the words that begin something.
var netrcKeywords = []string{"machine", "default", "login", "password", "account", "macdef"}

// A netrcReader splits a netrc file into words.
type netrcReader struct {
	rest []byte
	line int // of the beginning of rest, from 1
	err  error
}

// keyword returns the next word that is not in a comment; ok is false at the end of the file, and after an
// error.
func (r *netrcReader) keyword() (word string, ok bool) {
	for r.err == nil {
		r.skipBlanks()
		if len(r.rest) == 0 {
			break
		}
		if r.rest[0] != '#' {
			return r.word(), r.err == nil
		}
		if i := bytes.IndexByte(r.rest, '\n'); i >= 0 {
			r.rest = r.rest[i:]
		} else {
			r.rest = nil
		}
	}
	return "", false
}

// value returns the word after a keyword. A keyword on a later line is no value: the file was cut.
func (r *netrcReader) value(keyword string) string {
	line := r.line
	r.skipBlanks()
	if len(r.rest) == 0 {
		r.fail(line, fmt.Sprintf("%q has no value", keyword))
		return ""
	}
	sameLine, quoted := r.line == line, r.rest[0] == '"'
	word := r.word()
	if !sameLine && !quoted && slices.Contains(netrcKeywords, word) {
		r.fail(line, fmt.Sprintf("%q has no value", keyword))
	}
	return word
}

// fail notes the first error.
func (r *netrcReader) fail(line int, text string) {
	if r.err == nil {
		r.err = fmt.Errorf("line %d: %s", line, text)
	}
}

// skipBlanks skips blanks and line breaks.
func (r *netrcReader) skipBlanks() {
	for len(r.rest) > 0 && isBlank(r.rest[0]) {
		if r.rest[0] == '\n' {
			r.line++
		}
		r.rest = r.rest[1:]
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// word returns the next word; rest must not begin with a blank.
func (r *netrcReader) word() string {
	if len(r.rest) > 0 && r.rest[0] == '"' {
		return r.quoted()
	}
	end := bytes.IndexAny(r.rest, " \t\r\n")
	if end < 0 {
		end = len(r.rest)
	}
	word := string(r.rest[:end])
	r.rest = r.rest[end:]
	return word
}

// netrcEscapes are the escapes of words in quotation marks that do not stand for the character itself.
var netrcEscapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t'}

// quoted returns a word in quotation marks, which must end on its line.
func (r *netrcReader) quoted() string {
	var b strings.Builder
	for i := 1; i < len(r.rest) && r.rest[i] != '\n'; i++ {
		switch c := r.rest[i]; {
		case c == '"':
			r.rest = r.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(r.rest) && r.rest[i+1] != '\n':
			i++
			if e, ok := netrcEscapes[r.rest[i]]; ok {
				b.WriteByte(e)
				continue
			}
			b.WriteByte(r.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	r.fail(r.line, "a quotation mark is not closed")
	return ""
}

// skipMacro skips the lines of a macro, up to an empty line or the end of the file.
func (r *netrcReader) skipMacro() {
	for first := true; len(r.rest) > 0; first = false {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if r.rest = rest; found {
			r.line++
		}
		if len(bytes.TrimSuffix(line, []byte("\r"))) == 0 && !first { // the first one ends the line of its name
			return
		}
	}
}
