package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestWarnUnused checks that warnUnused warns once of each PAWL_ variable that no option
// has, and of no other.
func TestWarnUnused(t *testing.T) {
	app, err := kong.New(new(CLI), kong.DefaultEnvars("PAWL"), kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	warned := func(environ ...string) string {
		var out strings.Builder
		warnUnknownVariables(&printer{stderr: &out}, app.Model, environ)
		return out.String()
	}
	good := []string{"PAWL=x", "PAWL_FILE_PATH=x", "PAWL_TEST_LONG=1", "XPAWL_X=1", "PAWL_EMPTY=", "PAWL_CONFIG=x", "PAWL_NO_CONFIG=1"}
	for _, flag := range allFlags(app.Model) {
		for _, variable := range flag.Envs {
			good = append(good, variable+"=1")
		}
	}
	if got := warned(good...); got != "" || len(good) < 40 {
		t.Errorf("%d variables: got %s", len(good), got)
	}
	for name, want := range map[string]string{
		"PAWL_CONECTIONS": "; did you mean PAWL_CONNECTIONS?", "PAWL_OUT": "; did you mean PAWL_OUTPUT?", "PAWL_STAT": "; did you mean PAWL_STATE?",
		"PAWL_connections": "; did you mean PAWL_CONNECTIONS?", "PAWL_RATE_LIMIT": "; did you mean PAWL_LIMIT_RATE?", "PAWL_VERSION": "", "PAWL_SOMETHING_ELSE": "", "PAWL_A\x1b[31m": "",
	} {
		want := "pawl: warning: " + strings.ReplaceAll(name, "\x1b", " ") + " is ignored, because pawl has no such option" + want + "\n"
		if got := warned(name + "=1"); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	t.Setenv("XDG_STATE_HOME", "state")
	if got := warned(); !strings.Contains(got, "XDG_STATE_HOME is ignored") {
		t.Errorf("got %q", got)
	}
}
