package main

// This file guesses the meaning of a command line that pawl does not understand, so that the hint is
// the command to type. It knows the options of other tools, and other words for the commands. It
// changes no command line that pawl understands.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"pawl/cmd/pawl/dropin"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
)

// A spellingError is the error of a command line, with the command that was most likely meant.
type spellingError struct {
	error
	command string // for a shell, such as "pawl mirror list.txt"
}

func (e spellingError) Unwrap() error { return e.error }

// commandWords are other words for commands, of other tools and of plain English.
var commandWords = map[string]string{
	"download": "get", "fetch": "get", "dl": "get", "pull": "get", "add": "get", "url": "get",
	"sync": "mirror", "batch": "mirror", "clone": "mirror", "input": "mirror", "from": "mirror", "file": "mirror",
	"ls": "list", "status": "list", "ps": "list", "show": "list", "downloads": "list", "jobs": "list",
	"rm": "remove", "delete": "remove", "del": "remove", "forget": "remove", "cancel": "remove", "clean": "remove",
	"continue": "resume", "cont": "resume", "restart": "resume", "retry": "resume", "start": "resume", "unpause": "resume",
	"check": "verify", "validate": "verify", "fsck": "verify", "scrub": "verify", "checksum": "verify", "sha256sum": "verify",
	"head": "info", "inspect": "info", "stat": "info", "probe": "info",
}

// listOptions are options of other tools whose argument is a list of URLs.
var listOptions = []string{"-i", "-K", "--input-file", "--input", "--list", "--url-file", "--file", "--from-file", "--urls"}

// foreignOptions maps options of other tools to options of pawl, "" for options that pawl does not need.
// Options with an argument are in foreignValues.
var foreignOptions = map[string]string{
	"-nc": "", "--no-clobber": "", "-nd": "", "--no-directories": "", "-nH": "", "--no-host-directories": "", "-np": "", "--no-parent": "", "--timestamping": "-N",
	"-nv": "-q", "--no-verbose": "-q", "--silent": "-q", "-S": "", "--show-error": "", "-J": "", "-g": "", "--globoff": "--no-glob", "-Z": "", "--parallel": "",
	"--remote-name": "", "--remote-name-all": "", "--remote-header-name": "", "--content-disposition": "", "--trust-server-names": "", "--create-dirs": "", "--compressed": "",
	"-f": "", "--fail": "", "-L": "", "--location": "", "--no-check-certificate": "--insecure", "--allow-overwrite": "--overwrite", "--auto-file-renaming": "--auto-rename", "--spider": "--dry-run",
	"--progress-bar": "", "-#": "", "-b": "", "--background": "", "-a": "", "--alternate-output": "", "--show-progress": "", "-E": "", "-p": "", "--server-response": "-v",
}

// foreignValues are options of other tools with an argument, as foreignOptions.
var foreignValues = map[string]string{
	"-C": "", "--continue-at": "", "-t": "--tries", "-w": "", "--wait": "", "--max-time": "--deadline", "-m": "--deadline", "-B": "--base", "--retry-delay": "--retry-wait",
	"-O": "-o", "--out": "-o", "--output-document": "-o", "-P": "-d", "--directory-prefix": "-d", "--output-dir": "-d", "-A": "-U", "-T": "--stall-timeout", "--timeout": "--stall-timeout",
	"-s": "", "--split": "", "-n": "-x", "--num-connections": "-x", "--max-connection-per-server": "-x", "--max-concurrent-downloads": "-j", "--parallel-max": "-j",
	"--max-overall-download-limit": "--limit-rate", "--bwlimit": "--limit-rate", "--max-tries": "--tries", "--retry": "--tries", "--retries": "--tries", "--lowest-speed-limit": "--min-rate",
	"--max-filesize": "--max-size", "--ca-certificate": "--cacert", "--on-download-complete": "--on-complete", "--on-download-error": "--on-error",
	"--file-allocation": "", "--min-split-size": "", "--summary-interval": "", "--console-log-level": "", "--parallel-immediate": "", "-e": "", "--execute": "", "--check-integrity": "",
}

// recursiveOptions ask other tools for a whole site.
var recursiveOptions = []string{"-r", "--recursive", "-mk", "-mkEpnp", "-m"}

var (
	// curlCluster matches short options of curl without an argument, such as -fsSLO.
	curlCluster = regexp.MustCompile(`^-[sSfLOJgk#]{2,}$|^-O$|^-s$`)
	// brokenScheme matches the beginning of a URL that was mistyped, or pasted without its first
	// letters.
	brokenScheme = regexp.MustCompile(`^(?i)(h?t{1,3}ps?)(:/*|/+)`)
)

// lacksValue matches the text of kong for an option without its value: at the end of the command line, or before
// another option.
var lacksValue = regexp.MustCompile(`^--([\w-]+): (?:missing value\b|expected .* value but got (?:"EOL"|"-.*" \((?:short|long) flag\)))`)

// explained returns the error of a command line in the words of pawl, if kong's would puzzle its user.
func explained(err error, app *kong.Kong) error {
	m := lacksValue.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	for _, f := range allFlags(app.Model) {
		if f.Name == m[1] {
			return fmt.Errorf("--%s needs a value: --%[1]s %s", f.Name, cmp.Or(f.PlaceHolder, "VALUE"))
		}
	}
	return err
}

// withIntention adds to the error of a command line the command that was most likely meant, if
// there is one that pawl understands.
func withIntention(err error, app *kong.Kong, args []string) error {
	if len(args) > 0 && isToolName(args[0]) {
		return spellingError{err, "pawl as " + args[0] + " …"}
	}
	s := speller{takesValue: valueFlags(app), commands: commandNames(app)}
	meant := s.read(args)
	if !s.changed || !understands(meant) {
		return err
	}
	words := []string{"pawl"}
	for i, arg := range meant {
		if i > 0 {
			arg = withoutSecret(meant[i-1], arg)
		}
		words = append(words, shellQuote(arg))
	}
	if s.foreign != "" {
		err = errors.New("there is no option " + strconv.Quote(s.foreign))
	}
	return spellingError{err, strings.Join(words, " ")}
}

// isToolName reports whether a word is the name of a tool whose command lines pawl reads.
func isToolName(word string) bool {
	return slices.Contains(dropin.Names, word) || word == "aria2" || word == "wget2"
}

// withoutSecret returns an argument as a message may show it; before is the argument before it.
// Headers and passwords are replaced.
func withoutSecret(before, arg string) string {
	for _, option := range []string{"-H", "--header", "-u", "--user", "--proxy"} {
		switch {
		case before == option:
			return "…"
		case len(option) == 2 && len(arg) > 2 && arg[:2] == option:
			return option + "…"
		case strings.HasPrefix(arg, option+"="):
			return option + "=…"
		}
	}
	return arg
}

// valueFlags returns the flags of all commands, with their dashes, and whether they take a value.
func valueFlags(app *kong.Kong) map[string]bool {
	flags := make(map[string]bool)
	nodes := append([]*kong.Node{app.Model.Node}, app.Model.Children...)
	for _, node := range nodes {
		for _, f := range node.Flags {
			flags["--"+f.Name] = !f.IsBool()
			if f.Tag.Negatable != "" {
				flags["--no-"+f.Name] = false
			}
			if f.Short != 0 {
				flags["-"+string(f.Short)] = !f.IsBool()
			}
		}
	}
	return flags
}

// commandNames returns the names of all commands.
func commandNames(app *kong.Kong) (names []string) {
	for _, c := range app.Model.Children {
		names = append(names, c.Name)
	}
	return names
}

// understands reports whether pawl understands a command line.
func understands(args []string) bool {
	p := newCommandLine(&printer{stdout: io.Discard, stderr: io.Discard}, "")
	_, err := p.Parse(args)
	return err == nil || p.exit >= 0 // --help or --version
}

// A speller reads a command line as its user may have meant it.
type speller struct {
	takesValue map[string]bool // by option, with its dashes
	commands   []string

	command string   // "" for the default
	words   []string // that are no options
	lists   []string // from listOptions
	options []string

	changed bool   // pawl reads the command line in another way
	foreign string // the first option of another tool; "" for none
}

// read returns the arguments that were most likely meant.
func (s *speller) read(args []string) []string {
	for len(args) > 0 {
		args = s.next(args)
	}
	s.findCommand()
	s.findDaemonOption()
	s.findLists()
	if s.command != "mirror" {
		if slices.Contains(s.options, "-N") { // get always asks whether a file has changed
			s.replace("-N")
			s.options = slices.DeleteFunc(s.options, func(o string) bool { return o == "-N" })
		}
		for i, w := range s.words {
			s.words[i] = s.asURL(w)
		}
	}
	var all []string
	if s.command != "" {
		all = append(all, s.command)
	}
	return slices.Concat(all, s.words, s.options)
}

// next reads the first argument, and its value if it has one, and returns the others.
func (s *speller) next(args []string) (rest []string) {
	arg, rest := args[0], args[1:]
	name, value, joined := strings.Cut(arg, "=")
	if !strings.HasPrefix(arg, "--") {
		name, joined = arg, false
	}
	// take returns the value of the option: behind "=", or the next argument.
	take := func() string {
		if !joined && len(rest) > 0 {
			value, rest = rest[0], rest[1:]
		}
		return value
	}
	short := len(arg) > 2 && arg[0] == '-' && arg[1] != '-'
	switch stands, known := foreignOptions[name]; {
	case strings.HasPrefix(arg, "-") && !s.isKnown(name) && infoOptions[bareName(arg)] != "":
		s.replace(arg)
		s.options = append(s.options, infoOptions[bareName(arg)])
	case arg == "-" || !strings.HasPrefix(arg, "-"):
		s.words = append(s.words, arg)
	case arg == "--":
		s.words = append(s.words, rest...)
		return nil
	case s.takesValue[name]:
		v := take()
		if name == "--checksums" && checkChecksumFile(v) != nil {
			s.changed, name = true, "--checksum"
		}
		if digestOptions[name] && (strings.Contains(v, "://") || isFile(v)) {
			s.changed, name = true, "--checksums"
		}
		if s.options = append(s.options, name); joined {
			s.options[len(s.options)-1] += "=" + v
		} else {
			s.options = append(s.options, v)
		}
	case arg == "--list" && len(s.words) > 0 && s.words[0] == "add": // its own, without a value
		s.options = append(s.options, arg)
	case slices.Contains(listOptions, name):
		s.replace(name)
		s.lists = append(s.lists, cmp.Or(take(), "LIST"))
	case short && (arg[:2] == "-i" || arg[:2] == "-K"):
		s.replace(arg[:2])
		s.lists = append(s.lists, arg[2:])
	case slices.Contains(recursiveOptions, name) && !(name == "-m" && len(rest) > 0 && isNumber(rest[0])):
		s.replace(name)
		s.command = "mirror"
	case curlCluster.MatchString(arg) && !s.hasValue(arg, rest):
		s.replace(arg)
		s.addCluster(arg)
	case known && !s.isKnown(name):
		s.replace(name)
		if stands != "" {
			s.options = append(s.options, stands)
		}
	case s.isForeignValue(name):
		s.replace(name)
		if v := take(); foreignValues[name] != "" {
			s.options = append(s.options, foreignValues[name], v)
		}
	case strings.HasPrefix(arg, "-C"): // -C-
		s.replace("-C")
	case strings.HasPrefix(name, "--") && !s.isKnown(name):
		near := nearestWord(name, maps.Keys(s.takesValue))
		if lower := strings.ToLower(name); s.isKnown(lower) {
			near = lower
		}
		if near == "" || near == name {
			s.options = append(s.options, arg)
			break
		}
		s.changed = true
		return append([]string{near + strings.TrimPrefix(arg, name)}, rest...)
	default:
		s.options = append(s.options, arg)
	}
	return rest
}

// infoOptions are the options that only print something, by the names that other tools have for them.
var infoOptions = map[string]string{"version": "--version", "help": "--help", "usage": "--help", "?": "--help"}

// bareName returns an option, or a word, without its dashes and in lower case.
func bareName(arg string) string { return strings.ToLower(strings.TrimLeft(arg, "-")) }

// digestOptions take a digest, and no file of digests, which --checksums takes.
var digestOptions = map[string]bool{"--checksum": true, "--sha256": true}

// replace notes that an option of another tool is replaced.
func (s *speller) replace(option string) {
	s.changed = true
	if s.foreign == "" {
		s.foreign = option
	}
}

// isKnown reports whether pawl has the option.
func (s *speller) isKnown(name string) bool {
	_, known := s.takesValue[name]
	return known
}

// isForeignValue reports whether name is an option of another tool with a value.
func (s *speller) isForeignValue(name string) bool {
	_, foreign := foreignValues[name]
	return foreign && !s.isKnown(name)
}

// hasValue reports whether an argument that may be an option of curl without a value is one of wget, aria2 or
// axel with a value.
func (s *speller) hasValue(arg string, rest []string) bool {
	return arg == "-O" && !s.isRemoteName(rest) || arg == "-s" && len(rest) > 0 && isNumber(rest[0])
}

// isRemoteName reports whether -O means curl's --remote-name, because a URL follows, and no other
// one: with a name for the file, it means wget's --output-document.
func (s *speller) isRemoteName(rest []string) bool {
	isURL := func(word string) bool { return strings.Contains(word, "://") }
	return len(rest) == 0 || isURL(rest[0]) || rest[0] == "-L"
}

// addCluster adds the options of pawl for short options of curl, such as -fsSLO.
func (s *speller) addCluster(cluster string) {
	if strings.Contains(cluster, "s") {
		s.options = append(s.options, "-q")
	}
	if strings.Contains(cluster, "k") {
		s.options = append(s.options, "-k")
	}
}

// findCommand makes the first word the command, if it is one, or another word for one. A file or a
// host with that name is none.
func (s *speller) findCommand() {
	if len(s.words) == 0 {
		return
	}
	word := s.words[0]
	meant := commandWords[strings.ToLower(word)]
	if option := infoOptions[bareName(word)]; option != "" && !isFile(word) {
		s.changed, s.words, s.options = true, nil, append(s.options, option)
		return
	}
	switch {
	case slices.Contains(s.commands, word):
		meant = word
	case strings.ContainsAny(word, "./:"):
	case meant == "" && !isFile(word):
		meant = nearestWord(word, slices.Values(s.commands))
	}
	if meant == "" {
		return
	}
	s.changed = s.changed || meant != word
	if s.words = s.words[1:]; s.command == "" { // -r asks for mirror, whatever the command is
		s.command = meant
	}
}

// daemonWords are words behind daemon, as other programs have them, and the options that stand for them; "" for none.
var daemonWords = map[string]string{"start": "", "run": "", "stop": "--stop", "quit": "--stop", "shutdown": "--stop", "open": "--open"}

// findDaemonOption replaces a word behind daemon by its option.
func (s *speller) findDaemonOption() {
	if s.command != "daemon" || len(s.words) != 1 {
		return
	}
	option, known := daemonWords[s.words[0]]
	if !known {
		return
	}
	s.changed, s.words = true, nil
	if option != "" {
		s.options = append(s.options, option)
	}
}

// findLists makes mirror the command if a list is given: by an option, or by a word that is the
// name of one. The command add takes lists itself.
func (s *speller) findLists() {
	if s.command == "" || s.command == "get" {
		for _, w := range s.words {
			path, isPath := w, !strings.Contains(w, "://")
			if file, ok := strings.CutPrefix(w, "file://"); ok {
				path, isPath = file, true
			}
			if isPath && isList(path) {
				s.lists = append(s.lists, path)
			}
		}
	}
	switch {
	case len(s.lists) > 0 && s.command == "add":
		s.changed, s.words, s.options = true, s.lists, append(s.options, "--list")
	case len(s.lists) > 0:
		s.changed, s.command, s.words = true, "mirror", s.lists
	}
	if s.command == "mirror" { // which has no name for one file
		for i, o := range s.options {
			if (o == "-o" || o == "-O" || o == "--output") && i+1 < len(s.options) {
				s.options[i] = "-d"
			}
		}
	}
}

// asURL returns the URL that a word was meant to be, or the word itself.
func (s *speller) asURL(word string) string {
	if s.command != "" && s.command != "get" || weburl.Check(word) == nil {
		return word
	}
	meant := word
	if m := brokenScheme.FindStringSubmatch(word); m != nil {
		scheme := "http://"
		if strings.HasSuffix(strings.ToLower(m[1]), "s") {
			scheme = "https://"
		}
		meant = scheme + word[len(m[0]):]
	} else if looksLikeHost(word) {
		meant = "https://" + word
	}
	if meant == word || weburl.Check(meant) != nil {
		return word
	}
	s.changed = true
	return meant
}

// looksLikeHost reports whether a word is a URL without its scheme, such as "example.com/x.iso".
func looksLikeHost(word string) bool {
	host, _, hasPath := strings.Cut(word, "/")
	isName := !hasPath && slices.Contains(fileSuffixes, strings.ToLower(filepath.Ext(host)))
	return strings.Contains(strings.Trim(host, "."), ".") && !isName && !strings.Contains(word, "://") && !isFile(word)
}

// fileSuffixes are extensions of files that are no domains of hosts.
var fileSuffixes = []string{".txt", ".lst", ".list", ".urls", ".csv", ".tsv", ".json", ".jsonl", ".metalink", ".meta4", ".sha256", ".sha512", ".md5", ".torrent", ".part"}

// isFile reports whether there is a file with this path.
func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isList reports whether path is standard input, or a file that begins like a list.
func isList(path string) bool {
	return path == "-" || namesFiles(path, func(e list.Entry) bool { return !e.Sum.IsZero() || !strings.HasPrefix(e.URLs[0], checksumBase) })
}

// hasDigests reports whether the file at path is a list with digests, such as SHA256SUMS.
func hasDigests(path string) bool {
	return namesFiles(path, func(e list.Entry) bool { return !e.Sum.IsZero() })
}

// namesFiles reports whether the file at path is a list, and one of its first entries is as wanted.
func namesFiles(path string, wanted func(list.Entry) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false
	}
	for e, err := range list.Read(path, io.LimitReader(f, downloader.InspectBytes), list.Options{Base: checksumBase}) {
		if err == nil && wanted(e) {
			return true
		}
	}
	return false
}

// isNumber reports whether text is a number, perhaps with a unit.
func isNumber(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }
