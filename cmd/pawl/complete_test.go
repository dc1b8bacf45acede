package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pawl/downloader/faultserver"
)

// completions are command lines with the cursor at their end, and words that each shell must offer and
// must not offer. DONE and PART are the IDs of a finished and an unfinished download.
var completions = []struct{ line, want, not string }{
	{"pawl ", "get mirror resume list verify info remove report config completion help", "DONE list.txt --connections"},
	{"pawl m", "mirror", "remove"},
	{"pawl --con", "--connections --connect-timeout --continue --config", "--rounds"},
	{"pawl -", "--connections --output --dir --json --no-glob", "--rounds --repair"},
	{"pawl http://h/x --con", "--connections --connect-timeout", "--rounds"},
	{"pawl http://h/x ", "", "get list list.txt"},
	{"pawl -x 4 li", "list", ""},
	{"pawl -q mirror --ro", "--rounds --round-wait", ""},
	{"pawl --dir list --rest", "--restart", ""},
	{"pawl list --", "--all --json", "--connections --ids"},
	{"pawl mirror --format ", "aria2 sums metalink json csv curl index", "list.txt"},
	{"pawl mirror --format=a", "aria2", "sums"},
	{"pawl --on-change ", "restart fail", "list.txt"},
	{"pawl mirror ", "list.txt sub", "get DONE"},
	{"pawl -d s", "sub", "some.pem"},
	{"pawl --cacert s", "some.pem", ""},
	{"pawl --limit-rate ", "", "list.txt sub get"},
	{"pawl resume ", "PART list.txt", "DONE get"},
	{"pawl verify ", "PART DONE list.txt", "get"},
	{"pawl remove --files ", "PART DONE", "get"},
	{"pawl --state state/pawl resume ", "PART", "DONE"},
	{"pawl report ", "merge", "list.txt"},
	{"pawl report merge ", "list.txt", "merge"},
	{"pawl report merge --o", "--output", ""},
	{"pawl queue ", "status pause resume cancel delete limit report check", "list.txt get"},
	{"pawl queue check --queue-", "--queue-ca --queue-cert --queue-key --queue-creds --queue-insecure --queue-replicas --queue-monitor", "--queue-key-file"},
	{"pawl queue --queue tls://h report --", "--report --failed --wait", "--now"},
	{"pawl queue status --queue-creds s", "some.pem", ""},
	{"pawl queue pause ", "", "list.txt PART"},
	{"pawl help ", "fleet config exit-codes manual mirror", "list.txt"},
	{"pawl completion ", "bash zsh fish", "list.txt"},
	{"pawl as ", "aria2c curl wget axel", "list.txt --connections"},
	{"pawl as curl --out", "--output --output-dir", "--output-document"},
	{"pawl -q as wget --out", "--output-document", "--output-dir"},
	{"pawl as curl -o ", "list.txt sub", "get curl"},
	{"pawl as wget --rec", "", "--recursive"},
	{"pawl as aria2c --max-conn", "--max-connection-per-server", "--connections"},
	{"pawl as axel --num", "--num-connections", ""},
	{"pawl as curl -fL -x list --rem", "--remote-name --remote-time", "--remove"},
}

// shells run the completion of a shell in a process of its own: they read the file "lines", and print
// for each line "== LINE" and the words, one in a line, perhaps with a tab and a description.
var shells = []struct {
	name, file string // the script of pawl is in file
	command    []string
	files      map[string]string
}{
	{"bash", "pawl.bash", []string{"bash", "--norc", "run"}, map[string]string{"run": `
. ./pawl.bash
while IFS= read -r line; do
	read -ra COMP_WORDS <<<"${line//=/ = }"
	[[ $line == *' ' ]] && COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_pawl
	printf '%s\n' "== $line" "${COMPREPLY[@]}"
done <lines
complete -p pawl >/dev/null
`}},
	{"fish", "pawl.fish", []string{"fish", "-N", "run"}, map[string]string{"run": `
source pawl.fish
cat lines | while read -l line
    echo "== $line"
    complete -C "$line"
end
`}},
	// The words that zsh has found pass through compadd. Its line editor needs a terminal, which zpty makes.
	{"zsh", "_pawl", []string{"zsh", "-f", "-c", `zmodload zsh/zpty; export ZDOTDIR=$PWD; zpty z zsh -i; zpty -r z all '*never*'; cat out`}, map[string]string{".zshrc": `
fpath=($ZDOTDIR $fpath)
autoload -U compinit && compinit -u -D
compadd() {
	local -a found
	if [[ " ${@[1,(i)(-|--)]} " != *' '-(O|A|D)' '* ]]; then
		builtin compadd -A found "$@"
		(( $#found )) && print -rl -- $found >>$ZDOTDIR/out
	fi
	builtin compadd "$@"
}
zle -C capture list-choices _main_complete
zle-line-init() {
	local line
	for line in ${(f)"$(<$ZDOTDIR/lines)"}; do
		BUFFER=$line CURSOR=$#line
		print -r -- "== $line" >>$ZDOTDIR/out
		zle capture
	done
	exit
}
zle -N zle-line-init
`}},
}

// TestCompletion runs the scripts of "pawl completion" in real shells. With PAWL_TEST_SERVERS=required
// a missing shell fails the test.
func TestCompletion(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	if runtime.GOOS == "windows" {
		t.Skip("its shells have other paths")
	}
	dir := t.TempDir()
	ids := strings.NewReplacer(completionDownloads(t, dir)...)
	lines := ""
	for _, c := range completions {
		lines += c.line + "\n"
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lines", lines)
	write("list.txt", "")
	write("some.pem", "")
	os.Mkdir(filepath.Join(dir, "sub"), 0o700)
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			path, err := exec.LookPath(shell.name)
			if err != nil && os.Getenv("PAWL_TEST_SERVERS") == "required" {
				t.Fatal(err)
			} else if err != nil {
				t.Skip(err)
			}
			var script bytes.Buffer
			if code := run([]string{"completion", shell.name}, &script, &script); code != 0 {
				t.Fatalf("exit code %d: %s", code, &script)
			}
			write(shell.file, script.String())
			for name, text := range shell.files {
				write(name, text)
			}
			cmd := exec.Command(path, shell.command[1:]...)
			cmd.Dir, cmd.Env = dir, append(pawlCommand(dir).Env, "TERM=dumb", "LC_ALL=C.UTF-8")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			offered := readCompletions(string(out))
			for _, c := range completions {
				words, asked := offered[c.line]
				if !asked {
					t.Errorf("%q: the shell has not answered: %s", c.line, out)
				}
				for _, word := range strings.Fields(ids.Replace(c.want)) {
					if !slices.Contains(words, word) {
						t.Errorf("%q: %s is not offered, but %q", c.line, word, words)
					}
				}
				for _, word := range strings.Fields(ids.Replace(c.not)) {
					if slices.Contains(words, word) {
						t.Errorf("%q: %s is offered", c.line, word)
					}
				}
			}
			if description := "\tpart.bin"; shell.name == "fish" && !strings.Contains(string(out), description) {
				t.Errorf("the IDs have no file names as descriptions: %s", out)
			}
		})
	}
}

// completionDownloads makes a finished and an unfinished download in dir. It returns arguments for
// strings.NewReplacer, which replace DONE and PART by their IDs.
func completionDownloads(t *testing.T, dir string) (replace []string) {
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("done.bin", faultserver.NewFile(1000, 1))
	pawlOK(t, dir, "-q", srv.URL+"/done.bin")
	srv.Put("part.bin", faultserver.NewFile(1<<20, 1))
	srv.Set(faultserver.NoRanges, faultserver.Cut(300<<10))
	pawlCommand(dir, "-q", "-x1", "--tries", "1", "--retry-wait", "0", srv.URL+"/part.bin").Run()
	for _, row := range regexp.MustCompile(`(?m)^(\w+)\t(\w+)\.bin$`).FindAllStringSubmatch(pawlOK(t, dir, "list", "--all", "--ids"), -1) {
		replace = append(replace, strings.ToUpper(row[2]), row[1])
	}
	if len(replace) != 4 {
		t.Fatalf("got downloads %q, want two", replace)
	}
	return replace
}

// readCompletions returns the words that a shell has printed for each line.
func readCompletions(out string) map[string][]string {
	offered := make(map[string][]string)
	line := ""
	for text := range strings.Lines(strings.ReplaceAll(out, "\r", "")) {
		text = strings.TrimSuffix(text, "\n")
		if l, ok := strings.CutPrefix(text, "== "); ok {
			line = l
			offered[line] = []string{}
			continue
		}
		word, _, _ := strings.Cut(text, "\t")
		word = strings.TrimPrefix(strings.TrimSuffix(word, "/"), "--format=")
		offered[line] = append(offered[line], word)
	}
	return offered
}

// TestCompletionGrammar checks what the generators take for granted: an option of all commands either
// takes a value or not, with the same words, and no text breaks a line.
func TestCompletionGrammar(t *testing.T) {
	g := newCompletionGrammar(newCommandLine(&printer{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}, "").Model)
	actions := make(map[string]string) // of each option
	for o := range g.options() {
		action := "none"
		if o.argument != nil {
			action = "value " + bashAction(*o.argument)
		}
		for _, name := range o.names {
			if other := actions[name]; other != "" && other != action {
				t.Errorf("%s completes as %q in one command and as %q in another", name, other, action)
			}
			actions[name] = action
		}
		if o.help == "" || strings.ContainsAny(o.help, "\n\t") || len(o.help) > 200 {
			t.Errorf("%s: %q is no good description", o.names, o.help)
		}
	}
	for _, name := range g.valued {
		if actions[name] == "none" {
			t.Errorf("%s takes a value in some commands only", name)
		}
	}
	if len(actions) < 80 || len(g.commands) < 10 {
		t.Errorf("got %d options and %d commands", len(actions), len(g.commands))
	}
}

// TestManual checks that the manual page has all commands, options, exit codes and topics, each option
// once, and that the programs that show it find nothing to complain about.
func TestManual(t *testing.T) {
	sampled(t, 8)
	code, page, _ := runHelp("manual")
	if code != 0 {
		t.Fatalf("pawl help manual: exit code %d", code)
	}
	app := newCommandLine(&printer{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}, "").Model
	for _, c := range leaves(app) {
		if !strings.Contains(page, `\fBpawl `+roff(c.Path())+`\fR`) {
			t.Errorf("the command %s is missing", c.Path())
		}
	}
	for _, o := range manualOptions(app) {
		tag := regexp.MustCompile(`(?m)^\.TP\n.*\\fB` + regexp.QuoteMeta(roff("--"+o.flag.Name)) + `\\fR`)
		if n := len(tag.FindAllString(page, -1)); n != 1 {
			t.Errorf("--%s is described %d times", o.flag.Name, n)
		}
	}
	for _, title := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"} {
		if !strings.Contains(page, "\n.SH \""+title+"\"\n") {
			t.Errorf("the section %s is missing", title)
		}
	}
	for _, topic := range helpTopics {
		if !slices.ContainsFunc(manualTopics, func(m struct{ topic, title string }) bool { return m.topic == topic.name }) {
			t.Errorf("the topic %s is missing", topic.name)
		}
	}
	for code := range failureNames {
		if !strings.Contains(page, fmt.Sprintf("\n%5d  ", code)) {
			t.Errorf("the exit code %d is missing", code)
		}
	}
	path := filepath.Join(t.TempDir(), "pawl.1")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tool := range [][]string{{"mandoc", "-T", "lint", path}, {"man", "--warnings", "-E", "UTF-8", "-l", path}} {
		if _, err := exec.LookPath(tool[0]); err != nil && os.Getenv("PAWL_TEST_SERVERS") == "required" {
			t.Error(err)
			continue
		} else if err != nil || tool[0] == "man" && runtime.GOOS != "linux" {
			t.Logf("%s is not run: %v", tool[0], err)
			continue
		}
		cmd := exec.Command(tool[0], tool[1:]...)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "MANPAGER=cat", "TERM=dumb")
		text, err := cmd.Output()
		if tool[0] == "mandoc" {
			complaints.Write(text)
		} else if !bytes.Contains(text, []byte("--connections")) {
			t.Errorf("%q does not show --connections: %.300s", tool, text)
		}
		if err != nil || complaints.Len() > 0 {
			t.Errorf("%q: %v: %.600s", tool, err, &complaints)
		}
	}
}
