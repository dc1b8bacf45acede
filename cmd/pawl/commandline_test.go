package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/alecthomas/kong"
)

// The grammar of one command understands a command line as the whole grammar does, or leaves it to
// that.
func TestGrammarOfOneCommand(t *testing.T) {
	skipUnderRace(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	config := filepath.Join(home, "config")
	if err := os.WriteFile(config, []byte("rounds = 3\nlimit-rate = 5M\n"), 0o600); err != nil { // rounds is mirror's
		t.Fatal(err)
	}
	for _, tt := range sample(3, []struct {
		args    []string
		command string // from likelyCommand
	}{
		{[]string{"http://h/x"}, "get"},
		{[]string{"get", "http://h/x", "http://h/y"}, "get"},
		{[]string{"-q", "http://h/x", "-x4", "--limit-rate=5M", "--no-glob"}, "get"},
		{[]string{"http://h/x", "--", "-y"}, "get"},
		{[]string{"--config", config, "http://h/x"}, "get"},
		{[]string{"list", "--config", config}, "list"},
		{[]string{"mirror", "--config", config, "a.txt"}, "mirror"},
		{[]string{"mirror", "a.txt", "-j", "3", "--header", "A: b"}, "mirror"},
		{[]string{"mirror", "get"}, "mirror"},
		{[]string{"resume"}, "resume"},
		{[]string{"resume", "list", "--json"}, "resume"},
		{[]string{"list", "-a"}, "list"},
		{[]string{"remove", "--files", "x"}, "remove"},
		{[]string{"-q", "list"}, ""},
		{[]string{"-x", "4", "list"}, ""},
		{[]string{"-o", "list", "http://h/x"}, ""},
		{[]string{"--", "list"}, ""},
		{nil, ""},
		{[]string{"lst"}, "get"},
		{[]string{"list", "x"}, "list"},
		{[]string{"list", "-x", "4"}, "list"},
		{[]string{"mirror"}, "mirror"},
		{[]string{"--bogus", "http://h/x"}, "get"},
		{[]string{"--limit-rate", "fast", "http://h/x"}, "get"},
		{[]string{"--help"}, "get"},
		{[]string{"-h", "http://h/x"}, "get"},
		{[]string{"get", "--help"}, "get"},
		{[]string{"mirror", "--help"}, "mirror"},
		{[]string{"resume", "-qh"}, "resume"},
		{[]string{"list", "--help"}, "list"},
		{[]string{"remove", "--help"}, "remove"},
		{[]string{"remove", "--help", "--bogus"}, "remove"},
		{[]string{"--version"}, "get"},
		{[]string{"list", "-V"}, "list"},
	}) {
		if got := likelyCommand(tt.args, []string{"HOME=/root", "PAWL_TEST_X=1"}); got != tt.command {
			t.Errorf("%q: likely to be %q, want %q", tt.args, got, tt.command)
		}
		if got := likelyCommand(tt.args, []string{"PAWL_JOBS=1"}); got != "" {
			t.Errorf("%q and a setting in the environment: likely to be %q, want the whole grammar", tt.args, got)
		}
		var texts [2]bytes.Buffer
		got, parsed, err := parse(&printer{stdout: &texts[0], stderr: &texts[0]}, tt.args, nil)
		want := newCommandLine(&printer{stdout: &texts[1], stderr: &texts[1]}, "")
		wantParsed, wantErr := want.Parse(tt.args)
		if texts[0].String() != texts[1].String() || got.exit != want.exit {
			t.Errorf("%q: printed, and exit code %d\n%s\nwant %d\n%s", tt.args, got.exit, &texts[0], want.exit, &texts[1])
		}
		if want.exit >= 0 {
			continue
		}
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%q: error %v, want %v", tt.args, err, wantErr)
		}
		if err != nil {
			if len(got.Model.Children) != len(want.Model.Children) {
				t.Errorf("%q: an error without the whole grammar", tt.args)
			}
			continue
		}
		if !reflect.DeepEqual(selectedValues(parsed), selectedValues(wantParsed)) {
			t.Errorf("%q: got\n%+v\nwant\n%+v", tt.args, selectedValues(parsed), selectedValues(wantParsed))
		}
	}
}

// selectedValues returns the values that the selected command gets.
func selectedValues(parsed *kong.Context) []any {
	return []any{parsed.Selected().Name, parsed.Selected().Target.Interface(), parsed.Model.Target.FieldByName("Globals").Interface()}
}
