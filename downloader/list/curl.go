package list

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxUnpaired is how many URLs a curlReader holds for which no output has come. curl pairs
// the n-th output with the n-th URL, however far apart they are; in practice they are next
// to each other.
const maxUnpaired = 1000

// A curlReader parses the configuration file of curl(1), option -K:
//
//	url = "https://h/x.iso"
//	output = "iso/x.iso"
//
// The n-th output belongs to the n-th URL. remote-name takes the place of an output. Other
// options are ignored.
type curlReader struct {
	c       *collector
	waiting []Entry    // URLs for which no output has come
	outputs []curlName // outputs for which no URL has come
	dir     string     // the value of output-dir
	warned  bool       // there has been a warning about ignored options
}

// A curlName is the value of an output.
type curlName struct {
	name string // "" for remote-name
	line int
}

// quietCurlOptions are the options that change neither source nor target of a file, or that
// pawl does anyway. Ignoring them does not change the result, so there is no warning.
var quietCurlOptions = setOf(`location silent show-error fail fail-with-body fail-early create-dirs remote-time remote-name-all
	remote-header-name progress-bar verbose parallel parallel-max parallel-immediate no-progress-meter retry retry-delay
	retry-max-time retry-all-errors retry-connrefused connect-timeout max-time speed-limit speed-time continue-at compressed
	globoff skip-existing no-clobber get L s S f C v k- # J R Z g`)

func (r *curlReader) parseLine(text []byte, n int) {
	line := strings.Trim(string(text), blanks)
	if isCurlArguments(line) {
		r.parseArguments(shellWords(line), n)
		return
	}
	name, value, err := parseCurlOption(line)
	if err != nil {
		r.c.problem(n, err)
		return
	}
	r.parseOption(name, value, n)
}

// isCurlArguments reports whether a line has options and a URL as on the command line of curl, such as
// "-L -O http://h/x". curl would not read it as they are meant.
func isCurlArguments(line string) bool {
	if !strings.HasPrefix(line, "-") {
		return false
	}
	words := shellWords(line)
	return len(words) > 1 && words[0] != "--url" && !slices.Contains(optionsWithURL, words[0]) && slices.ContainsFunc(words, isURL)
}

// parseArguments parses the words of a line as on the command line.
func (r *curlReader) parseArguments(words []string, n int) {
	next := func() (word string) {
		if len(words) > 0 {
			word, words = words[0], words[1:]
		}
		return word
	}
	for len(words) > 0 {
		w := next()
		letters, isShort := strings.CutPrefix(w, "-")
		isShort = isShort && !strings.HasPrefix(letters, "-") && letters != ""
		switch name := strings.TrimLeft(w, "-"); {
		case isURL(w):
			r.parseOption("url", w, n)
		case slices.Contains(optionsWithURL, w):
			next()
		case isShort && strings.HasSuffix(letters, "o"), w == "--output", w == "--url", w == "--output-dir":
			if isShort {
				name = "o"
			}
			r.parseOption(name, next(), n)
		case isShort && strings.Contains(letters, "O"):
			r.parseOption("O", "", n)
		case strings.HasPrefix(w, "--"):
			r.parseOption(name, "", n)
		}
	}
}

// parseOption handles an option without its dashes.
func (r *curlReader) parseOption(name, value string, n int) {
	switch name {
	case "url":
		r.waiting = append(r.waiting, Entry{URLs: []string{value}, Size: -1, Line: n})
		r.pair()
	case "output", "o":
		r.outputs = append(r.outputs, curlName{value, n})
		r.pair()
	case "remote-name", "O":
		r.outputs = append(r.outputs, curlName{"", n})
		r.pair()
	case "output-dir":
		r.dir = value
	case "next", ":":
		r.flush()
	default:
		if !quietCurlOptions[name] && !r.warned {
			r.warned = true
			r.c.warn(n, fmt.Errorf("option %q ignored, and so are all others but url, output and output-dir", truncate(name)))
		}
	}
}

// pair yields the URLs that have an output.
func (r *curlReader) pair() {
	for len(r.waiting) > 0 && len(r.outputs) > 0 {
		r.add(r.waiting[0], r.outputs[0].name)
		r.waiting = slices.Delete(r.waiting, 0, 1)
		r.outputs = slices.Delete(r.outputs, 0, 1)
	}
	if len(r.waiting) > maxUnpaired {
		r.add(r.waiting[0], "")
		r.waiting = slices.Delete(r.waiting, 0, 1)
	}
	if len(r.outputs) > maxUnpaired {
		r.c.problem(r.outputs[0].line, errors.New("output has no URL"))
		r.outputs = slices.Delete(r.outputs, 0, 1)
	}
}

// flush ends an operation: it yields the URLs that have no output, and reports the outputs that have no URL.
func (r *curlReader) flush() {
	for _, e := range r.waiting {
		r.add(e, "")
	}
	for _, o := range r.outputs {
		if o.name != "" {
			r.c.problem(o.line, errors.New("output has no URL"))
		}
	}
	r.waiting, r.outputs = nil, nil
}

// outputPart matches "#n" in an output: the value of the n-th pattern of the URL.
var outputPart = regexp.MustCompile(`#[1-9]`)

func (r *curlReader) add(e Entry, out string) {
	if r.c.stopped {
		return
	}
	err := checkDir(r.dir)
	if outputPart.MatchString(out) && err == nil {
		if count, patternErr := Count(e.URLs[0]); patternErr != nil || count > 1 {
			err = fmt.Errorf("output %q has a part of the URL, which is a pattern; leave out the output and use --glob", truncate(out))
		}
	}
	if out != "" && err == nil {
		e.Out, err = localPath(out)
	}
	if err != nil {
		r.c.problem(e.Line, err)
		return
	}
	e.Dir = r.dir
	r.c.addExpanded(e)
}

func (r *curlReader) skipLongLine([]byte) {}

func (r *curlReader) end() error {
	r.flush()
	return nil
}

// optionChars are the characters of the options of curl.
const optionChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.#"

// parseCurlOption returns the name of an option, without dashes, and its value, without
// quotes. Name and value are separated by blanks, "=" or ":".
func parseCurlOption(line string) (name, value string, err error) {
	line = strings.TrimLeft(line, "-")
	if name = line; line != ":" {
		at := strings.IndexAny(line+"=", " \t=:")
		name, value = line[:at], strings.TrimLeft(line[at:], blanks)
		if strings.Trim(name, optionChars) != "" || name == "" {
			return "", "", fmt.Errorf("%q is not an option of curl", redactURL(line))
		}
	}
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blanks)
	}
	if !strings.HasPrefix(value, `"`) {
		value, _, _ = strings.Cut(value, " ")
		return name, value, nil
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '"':
			return name, b.String(), nil
		case '\\':
			if i++; i < len(value) {
				b.WriteByte(unescapeCurl(value[i]))
			}
		default:
			b.WriteByte(value[i])
		}
	}
	return "", "", fmt.Errorf("value of option %q has no closing quote", truncate(name))
}

// unescapeCurl returns the character that a backslash and b stand for.
func unescapeCurl(b byte) byte {
	if i := strings.IndexByte("tnrv", b); i >= 0 {
		return "\t\n\r\v"[i]
	}
	return b
}

// isCurlURL reports whether a line sets a URL in a configuration file of curl.
func isCurlURL(line string) bool {
	if isCurlArguments(line) {
		return true
	}
	name, value, err := parseCurlOption(line)
	return err == nil && name == "url" && isURL(value)
}
