package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"pawl/store"
)

// A configFile holds the settings of one config file, for example:
//
//	# a comment
//	limit-rate = 10M
//	header = X-Team: a
//	header = X-Site: b
//
// An option that may be repeated takes all its lines, any other the last one. It is a
// kong resolver. It does not resolve flags that are set in the environment, because kong
// would prefer the file to the environment.
type configFile struct {
	path   string
	values map[string][]string // by long option name, in the order of the file
	lines  map[string]int      // line number of the last value, by long option name
}

// A configLoader reads the config files for the parser.
type configLoader struct {
	unreadable []error // of files that the user did not name, and that are left out
}

// load reads /etc/pawl/config, and then the file of --config or PAWL_CONFIG, or else the
// user's own. The second file wins.
func (l *configLoader) load(ctx *kong.Context) error {
	l.unreadable = nil // kong calls load several times
	named, none := "", false
	// The values of flags are not set yet in this phase of kong, so --config and --no-config must
	// be asked from the parser itself.
	for _, flag := range ctx.Flags() {
		switch flag.Name {
		case "config":
			named, _ = ctx.FlagValue(flag).(string)
		case "no-config":
			none, _ = ctx.FlagValue(flag).(bool)
		}
	}
	if named == "" {
		named = os.Getenv("PAWL_CONFIG")
	}
	if none {
		return nil
	}
	paths := []string{"/etc/pawl/config"}
	if dir := userConfigDir(); dir != "" && named == "" {
		paths = append(paths, filepath.Join(dir, "pawl", "config"))
	}
	if named != "" {
		paths = append(paths, named)
	}
	for _, path := range paths { // in kong, later resolvers win, so the order is the priority
		if err := checkConfigOwner(path); err != nil && path != named {
			return err
		}
		// Only a file that the user named must exist.
		c, err := readConfig(path)
		if path != named && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
			continue
		}
		if path != named && isFileError(err) { // for example after sudo -u, which may keep the HOME of another user
			l.unreadable = append(l.unreadable, err)
			continue
		}
		if err != nil {
			return err
		}
		if err := c.Validate(ctx.Model); err != nil {
			return err
		}
		ctx.AddResolver(c)
	}
	return nil
}

// checkConfigOwner refuses a file of another user, because its options can run commands
// (--on-complete). It must not be used for a file that the user named explicitly.
func checkConfigOwner(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil // readConfig reports it
	}
	if err := store.CheckOwner(path, info); err != nil {
		return fmt.Errorf("config file: %w; name it with --config to use it, or give --no-config", err)
	}
	return nil
}

// readConfig reads one file. It skips blank lines and lines that begin with #. Underscores
// in names are read as hyphens, so that limit_rate is --limit-rate.
func readConfig(path string) (*configFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	defer f.Close()
	c := &configFile{path, make(map[string][]string), make(map[string]int)}
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
		if !ok || name == "" {
			return nil, fmt.Errorf("config file %q line %d: not of the form name = value", path, n)
		}
		c.values[name] = append(c.values[name], strings.TrimSpace(value))
		c.lines[name] = n
	}
	return c, in.Err()
}

// warn prints a warning for each file that was left out. It must be called after the command
// line has been parsed, so that neither --help nor an error of the command line comes with
// warnings.
func (l *configLoader) warn(out *printer) {
	for _, err := range l.unreadable {
		out.warn("%s; its settings are ignored", printable(err.Error()))
	}
}

// Validate refuses names that are not an option of any command, and options that only make
// sense on the command line.
func (c *configFile) Validate(app *kong.Application) error {
	// A setting of another command is known too, because all commands read the same file.
	known := make(map[string]bool)
	for _, flag := range allFlags(app) {
		known[flag.Name] = true
	}
	for name, n := range c.lines {
		if !known[name] || slices.Contains([]string{"config", "no-config", "help", "version"}, name) {
			return fmt.Errorf("config file %q line %d: there is no option %q", c.path, n, name)
		}
	}
	return nil
}

// Resolve returns the value of a flag, or nil if the environment sets the flag or the file
// does not.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	values, ok := c.values[flag.Name]
	switch {
	case !ok: // kong asks the next resolver, and in the end takes the default
		return nil, nil
	case flag.IsSlice():
		list := make([]any, len(values)) // kong passes a list through JSON, which must be UTF-8
		for i, v := range values {
			if !utf8.ValidString(v) {
				return nil, fmt.Errorf("config file %q: a value of %q is not UTF-8", c.path, flag.Name)
			}
			list[i] = v
		}
		return list, nil
	}
	return values[len(values)-1], nil
}
