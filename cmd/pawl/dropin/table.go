package dropin

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// An argument says whether an option has a value.
type argument int

const (
	none     argument = iota // never
	optional                 // only behind "=", or joined to the letter
	boolean                  // on, or off behind "no-"; in aria2 and wget also by a value
	required                 // always
)

// A verdict says how pawl treats an option.
type verdict int

const (
	translate verdict = iota // pawl has an option that does the same
	ignore                   // it changes neither the file nor its place
	drop                     // somebody may rely on it, so pawl warns that it does nothing
	refuse                   // pawl cannot do it, and a run without it would not be the wanted one
)

// An option is one option of a tool.
type option struct {
	long     string // without dashes; "" if there is only a letter
	short    byte   // 0 for none
	argument argument
	verdict  verdict
	reason   string // "" for translate
}

// String returns the option as a user types it, for example "-o, --output=".
func (o option) String() string {
	var text string
	if o.short != 0 {
		text = "-" + string(o.short)
	}
	if o.long == "" {
		return text
	}
	if text != "" {
		text += ","
	}
	text += "--" + o.long
	if o.argument == required {
		text += "="
	}
	return text
}

// A table has the options of a tool, and how the tool reads its arguments.
type table struct {
	all []option
	// negates means that "--no-NAME" switches NAME off.
	negates bool
	// switches means that the value of a boolean may follow "=" or the letter, as true, false, yes, no,
	// on or off.
	switches bool
	// abbreviates means that an unambiguous beginning of a name stands for it (getopt_long).
	abbreviates bool
}

// A group is a part of a table: the options with the same verdict and reason. names are separated
// by blanks, each "long" or "s/long", with "=" at its end if it has a value, "[=]" if it may have
// one, and "!" if it has none and cannot be switched off.
type group struct {
	verdict verdict
	reason  string
	names   string
}

// optionsOf returns the options of groups.
func optionsOf(groups ...group) (all []option) {
	for _, g := range groups {
		for name := range strings.FieldsSeq(g.names) {
			o := option{verdict: g.verdict, reason: g.reason, argument: boolean}
			if len(name) > 2 && name[1] == '/' {
				o.short, name = name[0], name[2:]
			}
			for suffix, argument := range map[string]argument{"[=]": optional, "=": required, "!": none} {
				if rest, ok := strings.CutSuffix(name, suffix); ok && (suffix != "=" || !strings.HasSuffix(name, "[=")) {
					o.argument, name = argument, rest
					break
				}
			}
			o.long = name
			all = append(all, o)
		}
	}
	return all
}

// A setting is an option with its value, or a word that is no option.
type setting struct {
	option *option // nil for a word
	name   string  // the option as it was typed, for messages: "-o" or "--output"
	value  string
	off    bool // a boolean was switched off
}

// byName returns the option with a long name, and whether "no-" switches it off.
func (t *table) byName(name string) (o *option, off bool, err error) {
	if name == "" {
		return nil, false, t.unknown("--")
	}
	if o = t.exact(name); o != nil {
		return o, false, nil
	}
	positive, negated := strings.CutPrefix(name, "no-")
	if negated && t.negates {
		if o = t.exact(positive); o != nil && o.argument == boolean {
			return o, true, nil
		}
	}
	if !t.abbreviates {
		return nil, false, t.unknown("--" + name)
	}
	var found []string
	for n := range t.names() {
		if strings.HasPrefix(n, name) {
			found = append(found, n)
		}
	}
	switch {
	case len(found) == 1:
		return t.byName(found[0])
	case len(found) > 1:
		slices.Sort(found)
		return nil, false, fmt.Errorf("option %q is ambiguous; it may be --%s", "--"+name, strings.Join(found, ", --"))
	}
	return nil, false, t.unknown("--" + name)
}

// names yields all long names, with those that switch off.
func (t *table) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range t.all {
			o := &t.all[i]
			if o.long == "" {
				continue
			}
			if !yield(o.long) || t.negates && o.argument == boolean && !yield("no-"+o.long) {
				return
			}
		}
	}
}

func (t *table) exact(name string) *option {
	for i := range t.all {
		if t.all[i].long == name {
			return &t.all[i]
		}
	}
	return nil
}

func (t *table) byLetter(letter byte) *option {
	for i := range t.all {
		if t.all[i].short == letter && letter != 0 {
			return &t.all[i]
		}
	}
	return nil
}

// unknown returns the error for an option that is not in the table, with the nearest one.
func (t *table) unknown(name string) error {
	near, best := "", 4
	for n := range t.names() {
		if d := Distance(strings.TrimLeft(name, "-"), n); d < best || d == best && n < near {
			near, best = n, d
		}
	}
	if near == "" || len(name) < 4 {
		return fmt.Errorf("there is no option %q", name)
	}
	return fmt.Errorf("there is no option %q; did you mean %q?", name, "--"+near)
}

// Distance returns the Levenshtein distance of a and b: how many letters must be inserted, deleted or
// replaced to turn one into the other.
func Distance(a, b string) int {
	row := make([]int, len(b)+1) // row[j] is the distance of the first i letters of a from b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// parse reads arguments: options may follow words, letters may be joined, and "--" ends the options.
func (t *table) parse(args []string) (all []setting, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var found []setting
		switch {
		case arg == "--":
			for _, word := range args {
				all = append(all, setting{value: word})
			}
			return all, nil
		case strings.HasPrefix(arg, "--"):
			var s setting
			s, args, err = t.parseLong(arg[2:], args)
			found = []setting{s}
		case len(arg) > 1 && arg[0] == '-':
			found, args, err = t.parseLetters(arg[1:], args)
		default:
			found = []setting{{value: arg}}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseLong reads NAME or NAME=VALUE, and the value from rest if it has to follow.
func (t *table) parseLong(text string, rest []string) (s setting, _ []string, err error) {
	name, value, joined := strings.Cut(text, "=")
	if s.option, s.off, err = t.byName(name); err != nil {
		return s, nil, err
	}
	s.name, s.value = "--"+name, value
	switch a := s.option.argument; {
	case a == required && !joined:
		if len(rest) == 0 {
			return s, nil, fmt.Errorf("option %q needs a value", s.name)
		}
		s.value, rest = rest[0], rest[1:]
	case joined && (a == none || a == boolean && !t.switches):
		return s, nil, fmt.Errorf("option %q has no value", s.name)
	case joined && a == boolean:
		err = s.switchTo(value)
	}
	return s, rest, err
}

// parseLetters reads letters of which the last one may have a value, joined to it or in rest.
func (t *table) parseLetters(letters string, rest []string) (all []setting, _ []string, err error) {
	for i := range len(letters) {
		s := setting{option: t.byLetter(letters[i]), name: "-" + letters[i:i+1]}
		if s.option == nil {
			return nil, nil, t.unknown(s.name)
		}
		joined := letters[i+1:]
		switch a := s.option.argument; {
		case a == required && joined == "":
			if len(rest) == 0 {
				return nil, nil, fmt.Errorf("option %q needs a value", s.name)
			}
			s.value, rest = rest[0], rest[1:]
		case a == required, a == optional:
			s.value = joined
		case a == boolean && t.switches && joined != "" && isSwitch(joined):
			err = s.switchTo(joined)
		default:
			all = append(all, s)
			continue
		}
		return append(all, s), rest, err
	}
	return all, rest, nil
}

// isSwitch reports whether a text is a value of a boolean.
func isSwitch(text string) bool {
	return slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "1", "0"}, strings.ToLower(text))
}

// switchTo sets a boolean to a value.
func (s *setting) switchTo(value string) error {
	if !isSwitch(value) {
		return fmt.Errorf("option %q is true or false, and nothing else", s.name)
	}
	if slices.Contains([]string{"false", "no", "off", "0"}, strings.ToLower(value)) {
		s.off = !s.off
	}
	s.value = ""
	return nil
}
