package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// parseArgs parses a command line as pawl does, including environment and config file.
func parseArgs(t *testing.T, args ...string) (cli CLI, err error) {
	t.Helper()
	config := new(configLoader)
	app, err := kong.New(&cli, kong.DefaultEnvars("PAWL"), rawTextMappers(), kong.Vars{"version": ""}, kong.WithBeforeReset(checkEnvironment), kong.WithBeforeResolve(config.load), kong.Bind(config))
	if err != nil {
		t.Fatal(err)
	}
	_, err = app.Parse(args)
	return cli, err
}

// TestArgumentsKeepTheirBytes checks that no byte of an argument, an environment variable
// or a config file is changed, although kong replaces bytes that are not UTF-8.
func TestArgumentsKeepTheirBytes(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("PAWL_REFERER", "http://r/\xe9")
	dir := t.TempDir()
	config := filepath.Join(dir, "config\xe9")
	if err := os.WriteFile(config, []byte("user-agent = \xe9\nheader = A: é\nreport = r\xe9\n"), 0o666); err != nil {
		t.Skip(err) // the file system allows only UTF-8 names
	}
	cli, err := parseArgs(t, "get", "-o", "o\xe9", "-dd\xe9", "--mirror", "http://m/a,\xe9", "--mirror=http://m/\xe8", "--state="+dir+"/\xe9", "--config", config,
		"--on-complete", "c\xe9", "http://h/\xe9?\xe8")
	if err != nil {
		t.Fatal(err)
	}
	abs := func(name string) string {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	got := []any{cli.Get.Output, cli.Get.Dir, cli.Get.Mirror, cli.State, cli.Config, cli.Get.OnComplete, cli.Get.URLs, cli.Get.Referer, cli.Get.UserAgent, cli.Get.Report, cli.Get.Header}
	want := []any{"o\xe9", abs("d\xe9"), []string{"http://m/a,\xe9", "http://m/\xe8"}, filepath.Join(dir, "\xe9"), config, "c\xe9", []string{"http://h/\xe9?\xe8"},
		"http://r/\xe9", "\xe9", abs("r\xe9"), []header{oneField("A", "é")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cli, err = parseArgs(t, "-H", "X: \xe9", "-H", "X: a,b", "-o", "-", "-d", "", "http://h/")
	if want := []header{oneField("X", "\xe9"), oneField("X", "a,b")}; err != nil || !reflect.DeepEqual(cli.Get.Header, want) || cli.Get.Output != "-" || cli.Get.Dir != "" {
		t.Errorf("got %q, %q, %q, %v", cli.Get.Header, cli.Get.Output, cli.Get.Dir, err)
	}
	if _, err := parseArgs(t, "-o"); err == nil || !strings.Contains(err.Error(), "expected string value") {
		t.Errorf("a flag without a value: got %v", err)
	}
	if err := os.WriteFile(config, []byte("header = A: \xe9\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := parseArgs(t, "--config", config, "http://h/"); err == nil || !strings.Contains(err.Error(), `a value of "header" is not UTF-8`) {
		t.Errorf("a list that kong would change: got %v", err)
	}
}

// An option that checks something must not have an empty argument on the command line.
func TestCheckGuards(t *testing.T) {
	for _, args := range [][]string{
		{"u", "--checksum", ""}, {"--checksum=", "u"}, {"--checksum= ", "u"}, {"mirror", "--checksums", "", "l"}, {"--expect=", "u"}, {"u", "--expect", "image/*", "--expect", ""}, {"--sha256", "", "u"},
	} {
		if code := run(args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: exit %d, want 2", args, code)
		}
	}
	for _, args := range [][]string{{"u", "--checksum", "sha256:00"}, {"--output", "", "--expect=!text/html", "u"}, {"--", "--expect", ""}, {"u"}} {
		if err := checkGuards(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}
