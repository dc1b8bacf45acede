package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"pawl/store"
)

// systemConfig is the config file of all users.
const systemConfig = "/etc/pawl/config"

// A configFile holds the settings of one config file, for example:
//
//	# a comment
//	limit-rate = 10M
//	header = X-Team: a
//	header = X-Site: b
//
//	[host example.org]
//	connections = 2
//
// An option that may be repeated takes all its lines, any other the last one. It is a
// kong resolver of the settings above the sections. It does not resolve flags that are set in
// the environment, because kong would prefer the file to the environment.
type configFile struct {
	path string
	settings
	sections []hostSection
	exposed  bool // other users of the machine can read it
}

// settings are the lines of one part of a config file, by long option name, in the order of the file.
type settings map[string][]setting

// A setting is one line of a config file.
type setting struct {
	value string
	line  int
}

// A hostSection holds the settings below a line [host NAME...].
type hostSection struct {
	hosts []hostPattern
	settings
}

// names returns the names, in the order of their first lines.
func (s settings) names() []string {
	return slices.SortedFunc(maps.Keys(s), func(a, b string) int { return s[a][0].line - s[b][0].line })
}

// A configLoader reads the config files for the parser.
type configLoader struct {
	ctx        *kong.Context // for which the files were read
	system     string        // path of the file of all users; "" for systemConfig
	files      []*configFile // the later ones have priority
	hosts      hostTable
	unreadable []error // of files that the user did not name, and that are left out
}

// load reads the file of all users, and then the file of --config or PAWL_CONFIG, or else the
// user's own. The second file wins.
func (l *configLoader) load(ctx *kong.Context) error {
	if l.ctx == ctx { // kong calls load for each part of the command line
		return nil
	}
	*l = configLoader{ctx: ctx, system: l.system}
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
	for _, path := range l.paths(named) { // in kong, later resolvers win, so the order is the priority
		c, err := l.read(path, path == named)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		if err := c.Validate(ctx.Model); err != nil {
			return err
		}
		ctx.AddResolver(c)
		l.files = append(l.files, c)
	}
	var err error
	l.hosts, err = newHostTable(ctx, l.files)
	return err
}

// paths returns the paths of the config files. named is the path that the user has named, or "".
func (l *configLoader) paths(named string) []string {
	paths := []string{cmp.Or(l.system, systemConfig)}
	if dir := userConfigDir(); dir != "" && named == "" {
		paths = append(paths, filepath.Join(dir, "pawl", "config"))
	}
	if named != "" {
		paths = append(paths, named)
	}
	return paths
}

// read reads a config file. It returns nil if the file is left out. Only a file that the user named
// must exist and be readable.
func (l *configLoader) read(path string, named bool) (*configFile, error) {
	if err := checkConfigOwner(path); err != nil && !named {
		return nil, err
	}
	c, err := readConfig(path)
	switch {
	case err == nil:
		return c, nil
	case named:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, nil
	case isFileError(err): // for example after sudo -u, which may keep the HOME of another user
		l.unreadable = append(l.unreadable, err)
		return nil, nil
	}
	return nil, err
}

// checkEnvironment returns an error if a variable has a value that its option cannot have. It must come
// before kong reads the variables, because the errors of kong repeat the values, which may be secrets.
func checkEnvironment(ctx *kong.Context) error {
	for _, flag := range ctx.Flags() {
		for _, env := range flag.Envs {
			value, ok := os.LookupEnv(env)
			if !ok || onCommandLine(ctx, flag.Name) {
				continue
			}
			if _, err := decode(flag, value); err != nil {
				return fmt.Errorf("%s: %w", env, err)
			}
		}
	}
	return nil
}

// onCommandLine reports whether an option is given on the command line.
func onCommandLine(ctx *kong.Context, option string) bool {
	return slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool {
		return p.Flag != nil && !p.Resolved && p.Flag.Name == option
	})
}

// fromEnvironment returns the variable of the environment that sets a flag, or "".
func fromEnvironment(flag *kong.Flag) string {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return env
		}
	}
	return ""
}

// decode returns the value of an option that kong reads from value: a string, or a []any for an option
// that may be repeated. The option itself does not change. The error does not repeat a value that may
// be a secret.
func decode(flag *kong.Flag, value any) (any, error) {
	to := reflect.New(flag.Target.Type()).Elem()
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
	}
	err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: kong.Scan().PushTyped(value, kong.FlagValueToken)}, to)
	if text, isText := value.(string); err == nil && isText && flag.Enum != "" && !slices.Contains(flag.EnumSlice(), text) {
		err = fmt.Errorf("%q is not one of %s", text, strings.Join(flag.EnumSlice(), ", "))
	}
	return to.Interface(), err
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
	c := &configFile{path: path, settings: make(settings), exposed: isExposed(f)}
	part := c.settings // the section of the next lines
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20) // 1 MiB, because a cookie may be longer than the default of 64 KiB
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(in.Text(), "\ufeff"))
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			hosts, err := parseSection(line)
			if err != nil {
				return nil, c.errorAt(n, err)
			}
			part = make(settings)
			c.sections = append(c.sections, hostSection{hosts, part})
		default:
			name, value, ok := strings.Cut(line, "=")
			name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
			if !ok || name == "" {
				return nil, c.errorAt(n, errors.New("not of the form name = value"))
			}
			part[name] = append(part[name], setting{strings.TrimSpace(value), n})
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("config file %q: %w", path, err)
	}
	return c, nil
}

// errorAt returns an error of a line.
func (c *configFile) errorAt(line int, err error) error {
	return fmt.Errorf("config file %q line %d: %w", c.path, line, err)
}

// warn prints a warning for each file that was left out, and for each file with a secret that others
// can read. It must be called after the command line has been parsed, so that neither --help nor an
// error of the command line comes with warnings.
func (l *configLoader) warn(out *printer) {
	for _, err := range l.unreadable {
		out.warn("%s; its settings are ignored", printable(err.Error()))
	}
	for _, c := range l.files {
		if line := c.secretLine(); c.exposed && line > 0 {
			out.warn("config file %q has a secret in line %d, and is readable by other users; restrict it with: chmod 600", c.path, line)
		}
	}
}

// secretLine returns the first line with a secret, 0 if there is none.
func (c *configFile) secretLine() (first int) {
	parts := []settings{c.settings}
	for _, s := range c.sections {
		parts = append(parts, s.settings)
	}
	for _, part := range parts {
		for name, lines := range part {
			for _, s := range lines {
				if isSecretSetting(name, s.value) && (first == 0 || s.line < first) {
					first = s.line
				}
			}
		}
	}
	return first
}

// onlyTyped are the options that only make sense on the command line.
var onlyTyped = []string{"config", "no-config", "help", "version"}

// isTyped reports whether an option is only taken from the command line, although others may be called the same.
func isTyped(flag *kong.Flag) bool { return flag.Tag.Has("typed") }

// Validate refuses names that are not an option of any command, options that only make sense on the
// command line, and options that a single host cannot have.
func (c *configFile) Validate(app *kong.Application) error {
	// A setting of another command is known too, because all commands read the same file.
	known := make(map[string]string) // the option of each name, also of the names in other tools
	for _, flag := range allFlags(app) {
		if !slices.Contains(onlyTyped, flag.Name) && !isTyped(flag) {
			for _, name := range append(slices.Clone(flag.Aliases), flag.Name) {
				known[name] = flag.Name
			}
		}
	}
	if err := c.checkNames(c.settings, known); err != nil {
		return err
	}
	for option := range hostSetters {
		known[option] = option
	}
	for _, s := range c.sections {
		if err := c.checkNames(s.settings, known); err != nil {
			return err
		}
		for _, name := range s.settings.names() {
			if hostSetters[name] == nil {
				return c.errorAt(s.settings[name][0].line, fmt.Errorf("%q cannot be set for one host, only for all, above the first [host NAME]; for one host there are %s", name, hostSetterNames()))
			}
		}
	}
	return nil
}

// checkNames returns an error for a name that is not an option.
func (c *configFile) checkNames(part settings, known map[string]string) error {
	for _, name := range part.names() {
		if known[name] == name {
			continue
		}
		text := fmt.Sprintf("there is no option %q", name)
		if near := nearestOption(name, known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return c.errorAt(part[name][0].line, errors.New(text))
	}
	return nil
}

// Resolve returns the value of a flag, or nil if the environment sets the flag or the file
// does not.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	lines, ok := c.settings[flag.Name]
	if !ok || isTyped(flag) || fromEnvironment(flag) != "" { // kong asks the next resolver, and in the end takes the default
		return nil, nil
	}
	value, _, err := c.value(flag, lines)
	return value, err
}

// value returns the value of an option, whose settings are lines, as kong takes it and as kong decodes it.
func (c *configFile) value(flag *kong.Flag, lines []setting) (text, decoded any, err error) {
	last := lines[len(lines)-1]
	if !flag.IsSlice() {
		if decoded, err = decode(flag, last.value); err != nil {
			return nil, nil, c.errorAt(last.line, err)
		}
		return last.value, decoded, nil
	}
	var list []any // kong passes a list through JSON, which must be UTF-8
	for _, s := range lines {
		if !utf8.ValidString(s.value) {
			return nil, nil, c.errorAt(s.line, fmt.Errorf("a value of %q is not UTF-8", flag.Name))
		}
		if _, err := decode(flag, s.value); err != nil {
			return nil, nil, c.errorAt(s.line, err)
		}
		for _, part := range kong.SplitEscaped(s.value, flag.Tag.Sep) {
			list = append(list, part)
		}
	}
	decoded, err = decode(flag, list)
	return list, decoded, err
}
