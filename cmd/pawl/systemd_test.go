package main

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// A systemdUnit holds the settings of a unit file by "Section.Name", in the order of the
// file.
type systemdUnit map[string][]string

// readUnit parses a unit file (systemd.syntax(7), without continued lines). Each line must
// be blank, a comment, a section or a setting.
func readUnit(t *testing.T, path string) systemdUnit {
	t.Helper()
	unit, section := make(systemdUnit), ""
	for n, line := range strings.Split(readFile(t, path), "\n") {
		name, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "", line[0] == '#':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
		case isSetting && section != "" && !strings.HasSuffix(line, `\`):
			key := section + "." + name
			unit[key] = append(unit[key], value)
		default:
			t.Errorf("%s line %d: %q is not a line of a unit", path, n+1, line)
		}
	}
	return unit
}

// TestSystemdService checks the unit that runs pawl: the grammar accepts its command line, the
// command may write where it must, and no exit code restarts it but 75.
func TestSystemdService(t *testing.T) {
	unit := readUnit(t, "systemd/pawl-mirror.service")
	args := strings.Fields(strings.Join(unit["Service.ExecStart"], "\n"))
	if len(args) < 2 || filepath.Base(args[0]) != "pawl" {
		t.Fatalf("ExecStart is %q, want a command line of pawl", args)
	}
	var cli CLI
	parser, err := kong.New(&cli, rawTextMappers(), kong.DefaultEnvars("PAWL"), kong.Vars{"version": ""}, kong.Bind(new(configLoader)))
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := parser.Parse(args[1:]); err != nil || parsed.Selected().Name != "mirror" {
		t.Errorf("%q is not a command line of pawl mirror: %v", args, err)
	}
	if !slices.Equal(unit["Service.ReadWritePaths"], []string{cli.Mirror.Dir}) {
		t.Errorf("ReadWritePaths is %q, want the directory of ExecStart, %q", unit["Service.ReadWritePaths"], cli.Mirror.Dir)
	}
	var prevented []int
	for _, code := range strings.Fields(strings.Join(unit["Service.RestartPreventExitStatus"], " ")) {
		n, err := strconv.Atoi(code)
		if err != nil {
			t.Error(err)
		}
		prevented = append(prevented, n)
	}
	var want []int
	for code := range failureNames {
		if code != 75 {
			want = append(want, code)
		}
	}
	slices.Sort(want)
	if !slices.Equal(prevented, want) {
		t.Errorf("RestartPreventExitStatus is %v, want all failures but 75: %v", prevented, want)
	}
	if got, term := unit["Service.SuccessExitStatus"], "143"; !slices.Equal(got, []string{term}) {
		t.Errorf("SuccessExitStatus is %q, want that of SIGTERM, %s", got, term)
	}
}

// TestSystemdDaemon checks the units of the daemon: the grammar accepts their command lines, a clean stop is no
// failure, a mistake in the settings does not start it again and again, and the port is the usual one.
func TestSystemdDaemon(t *testing.T) {
	for _, dir := range []string{"systemd/", "systemd/user/"} {
		unit := readUnit(t, dir+"pawl-daemon.service")
		args := strings.Fields(strings.Join(unit["Service.ExecStart"], "\n"))
		if len(args) < 2 || filepath.Base(args[0]) != "pawl" {
			t.Fatalf("%s: ExecStart is %q", dir, args)
		}
		var cli CLI
		parser, err := kong.New(&cli, rawTextMappers(), kong.DefaultEnvars("PAWL"), kong.Vars{"version": ""}, kong.Bind(new(configLoader)))
		if err != nil {
			t.Fatal(err)
		}
		if parsed, err := parser.Parse(args[1:]); err != nil || parsed.Selected().Name != "daemon" {
			t.Errorf("%s: %q is not a command line of pawl daemon: %v", dir, args, err)
		}
		if root := cli.Daemon.Root; root != "" && !slices.Equal(unit["Service.ReadWritePaths"], []string{root}) {
			t.Errorf("%s: ReadWritePaths is %q, want the --root %q", dir, unit["Service.ReadWritePaths"], root)
		}
		for key, want := range map[string]string{
			"Service.Type": "notify", "Service.SuccessExitStatus": "143", "Service.RestartPreventExitStatus": "2", "Service.Restart": "on-failure",
		} {
			if !slices.Equal(unit[key], []string{want}) {
				t.Errorf("%s: %s is %q, want %q", dir, key, unit[key], want)
			}
		}
		if socket := readUnit(t, dir+"pawl-daemon.socket"); !slices.Equal(socket["Socket.ListenStream"], []string{defaultListen}) {
			t.Errorf("%s: ListenStream is %q, want %s", dir, socket["Socket.ListenStream"], defaultListen)
		}
		for _, name := range []string{"pawl-daemon.service", "pawl-daemon.socket"} {
			if len(readUnit(t, dir+name)["Install.WantedBy"]) != 1 {
				t.Errorf("%s%s: systemctl cannot enable it", dir, name)
			}
		}
	}
}

// TestSystemdTimer checks that systemctl can enable the timer, and that it repeats.
func TestSystemdTimer(t *testing.T) {
	unit := readUnit(t, "systemd/pawl-mirror.timer")
	for _, key := range []string{"Timer.OnCalendar", "Install.WantedBy"} {
		if len(unit[key]) != 1 || unit[key][0] == "" {
			t.Errorf("%s is %q, want one value", key, unit[key])
		}
	}
}

// TestSystemdVerify lets systemd check the units, if it is installed. It wants programs and
// users that exist, so the copies name the ones of this test.
func TestSystemdVerify(t *testing.T) {
	sampled(t, 8)
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	pawl, err := exec.LookPath("pawl")
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	here := strings.NewReplacer("/usr/local/bin/pawl", pawl, "User=mirror", "User="+me.Username, "User=pawl", "User="+me.Username)
	t.Setenv("XDG_RUNTIME_DIR", dir) // for --user
	var units []string
	for _, name := range []string{"pawl-mirror.service", "pawl-mirror.timer", "pawl-daemon.service", "pawl-daemon.socket", "pawl-work@.service", "user/pawl-daemon.service", "user/pawl-daemon.socket"} {
		path := filepath.Join(dir, name)
		units = append(units, path)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(here.Replace(readFile(t, "systemd/"+name))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range append(units, breakUnit(t, units[0])) {
		args := []string{"verify", "--man=no", u}
		if filepath.Base(filepath.Dir(u)) == "user" {
			args = append(args, "--user")
		}
		out, err := exec.Command(analyze, args...).CombinedOutput()
		complains := strings.Contains(string(out), filepath.Base(u))
		if isBroken := !slices.Contains(units, u); (err != nil || complains) != isBroken {
			t.Errorf("systemd-analyze verify %s: %v\n%s", filepath.Base(u), err, out)
		}
	}
}

// breakUnit copies a unit with a setting that systemd rejects, to see that it looks.
func breakUnit(t *testing.T, path string) string {
	t.Helper()
	broken := filepath.Join(filepath.Dir(path), "broken.service")
	text := strings.Replace(readFile(t, path), "Restart=on-failure", "Restart=always", 1) // not allowed for a oneshot service
	if err := os.WriteFile(broken, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return broken
}
