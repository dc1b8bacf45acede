package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayImport is the architecture as a table. own and others are the packages of the module
// and of other modules that a package may import; not are the packages of the standard
// library that it must not import. A name that ends in /... stands for all packages below.
var mayImport = map[string]struct{ own, others, not []string }{
	"pawl/chunk": {
		others: []string{"golang.org/x/crypto/blake2b"},
		not:    []string{"bufio", "context", "database/...", "io", "io/...", "net", "net/...", "os", "os/...", "runtime", "sync", "sync/...", "time"},
	},
	"pawl/store": {
		own:    []string{"pawl/chunk"},
		others: []string{"go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "github.com/gofrs/flock", "golang.org/x/sys/..."},
		not:    []string{"net", "net/..."},
	},
	"pawl/downloader/failure": { // the vocabulary of errors, for all of the downloader
		not: []string{"os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/downloader/response": { // pure decisions: no errors of package failure, no context
		own:    []string{"pawl/chunk"},
		others: []string{"github.com/dunglas/httpsfv"},
		not:    []string{"context", "io", "io/...", "net", "os", "os/...", "log", "flag"},
	},
	"pawl/downloader/hosts": { // it waits, but does nothing to a network
		own: []string{"pawl/store"},
		not: []string{"database/...", "net", "net/...", "os", "os/...", "log"},
	},
	"pawl/downloader/sched": { // pure, except for one lock
		own: []string{"pawl/chunk"},
		not: []string{"context", "database/...", "errors", "io", "io/...", "net", "net/...", "os", "os/...", "log", "runtime"},
	},
	"pawl/downloader/signature": { // pure: it gets bytes, and starts no program
		others: []string{"golang.org/x/crypto/blake2b"},
		not:    []string{"context", "io", "io/...", "net", "net/...", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/downloader/credentials": { // pure: it gets bytes, and decides nothing; net/http is for the type of cookies
		not: []string{"context", "io", "io/...", "net", "os", "os/...", "log", "flag", "sync", "sync/..."},
	},
	"pawl/downloader/aria2": { // a table
		not: []string{"context", "fmt", "io", "io/...", "net", "net/...", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/downloader/weburl": { // pure
		not: []string{"context", "io", "io/...", "net", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/downloader/leftover": { // guesses about files that it is given
		own: []string{"pawl/chunk"},
		not: []string{"context", "net", "net/...", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/downloader/recent": { // a map, for what is remembered about hosts
		not: []string{"os", "os/...", "log", "flag", "net", "net/...", "sync", "sync/...", "time"},
	},
	"pawl/downloader/transport": { // connections, and limits of requests and bytes; it knows nothing of downloads
		own:    []string{"pawl/downloader/credentials", "pawl/downloader/failure", "pawl/downloader/recent", "pawl/downloader/weburl"},
		others: []string{"golang.org/x/net/proxy", "golang.org/x/net/publicsuffix"},
		not:    []string{"os", "os/...", "log", "flag"},
	},
	"pawl/downloader": {
		own:    []string{"pawl/chunk", "pawl/store", "pawl/downloader/credentials", "pawl/downloader/failure", "pawl/downloader/hosts", "pawl/downloader/leftover", "pawl/downloader/recent", "pawl/downloader/response", "pawl/downloader/sched", "pawl/downloader/transport", "pawl/downloader/weburl"},
		others: []string{"github.com/hashicorp/go-retryablehttp", "golang.org/x/sync/..."},
		not:    []string{"os", "os/...", "log", "flag"},
	},
	"pawl/downloader/list": {
		own:    []string{"pawl/chunk", "pawl/downloader/aria2", "pawl/downloader/credentials", "pawl/downloader/weburl"},
		others: []string{"golang.org/x/net/html", "golang.org/x/net/html/charset", "golang.org/x/net/http/httpguts", "golang.org/x/text/encoding", "golang.org/x/text/encoding/..."},
		not:    []string{"context", "database/...", "net", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/downloader/mirror": { // os is for the temporary file of the queue
		own: []string{"pawl/chunk", "pawl/store", "pawl/downloader", "pawl/downloader/failure", "pawl/downloader/list", "pawl/downloader/weburl"},
		not: []string{"os/...", "log", "flag", "net", "net/http/..."},
	},
	"pawl/downloader/queue": { // of package list, it needs the names and media types of Metalinks
		own: []string{"pawl/chunk", "pawl/store", "pawl/downloader", "pawl/downloader/failure", "pawl/downloader/list", "pawl/downloader/weburl"},
		not: []string{"os", "os/...", "log", "flag", "net", "net/http/..."},
	},
	"pawl/downloader/fleet": { // net/http is for the monitoring port of NATS
		own:    []string{"pawl/chunk", "pawl/store", "pawl/downloader", "pawl/downloader/failure", "pawl/downloader/list", "pawl/downloader/mirror", "pawl/downloader/transport", "pawl/downloader/weburl"},
		others: []string{"github.com/gofrs/flock", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream", "golang.org/x/net/idna"},
		not:    []string{"os/...", "log", "flag"},
	},
	"pawl/downloader/fleet/fakebroker": {
		own: []string{"pawl/downloader/fleet"},
		not: []string{"net", "net/...", "os", "os/...", "log", "flag"},
	},
	"pawl/downloader/fleet/natstest": {
		others: []string{"github.com/nats-io/nkeys"},
	},
	"pawl/downloader/faultserver": {
		others: []string{"golang.org/x/time/..."},
	},
	"pawl/cmd/pawl/bytetext": { // pure
		not: []string{"context", "io", "io/...", "net", "net/...", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/cmd/pawl/dropin": { // pure: it gets texts, and returns arguments
		own: []string{"pawl/downloader/aria2", "pawl/downloader/credentials"},
		not: []string{"context", "io", "io/...", "net", "net/http", "os", "os/...", "log", "flag", "sync", "sync/...", "time"},
	},
	"pawl/cmd/pawl/daemon/page": { // files that it serves; it knows nothing of the queue
		not: []string{"os", "os/...", "log", "flag", "sync", "sync/..."},
	},
	"pawl/cmd/pawl/daemon": { // the queue over HTTP; it knows no command line
		own:    []string{"pawl/chunk", "pawl/cmd/pawl/bytetext", "pawl/store", "pawl/downloader", "pawl/downloader/queue", "pawl/downloader/weburl"},
		others: []string{"github.com/coder/websocket", "github.com/gofrs/flock", "golang.org/x/net/http/httpguts"},
		not:    []string{"flag", "os/exec", "os/signal"},
	},
	"pawl/cmd/pawl/daemon/aria2rpc": { // a translation: it reads no file and runs nothing
		own:    []string{"pawl/chunk", "pawl/cmd/pawl/dropin", "pawl/store", "pawl/downloader", "pawl/downloader/aria2", "pawl/downloader/list", "pawl/downloader/queue", "pawl/downloader/weburl"},
		others: []string{"github.com/coder/websocket", "golang.org/x/net/http/httpguts"},
		not:    []string{"flag", "log", "net", "os", "os/..."},
	},
	"pawl/cmd/bench": {others: []string{"golang.org/x/sys/unix"}}, // for links between namespaces
	"pawl/cmd/pawl": {
		own:    []string{"pawl/chunk", "pawl/cmd/pawl/bytetext", "pawl/cmd/pawl/daemon", "pawl/cmd/pawl/daemon/aria2rpc", "pawl/cmd/pawl/daemon/page", "pawl/cmd/pawl/dropin", "pawl/store", "pawl/downloader", "pawl/downloader/credentials", "pawl/downloader/failure", "pawl/downloader/fleet", "pawl/downloader/list", "pawl/downloader/mirror", "pawl/downloader/queue", "pawl/downloader/signature", "pawl/downloader/weburl"},
		others: []string{"github.com/alecthomas/kong", "github.com/coreos/go-systemd/v22/...", "github.com/rivo/uniseg", "github.com/schollz/progressbar/v3", "golang.org/x/net/http/httpguts", "golang.org/x/net/idna", "golang.org/x/term", "golang.org/x/sync/...", "golang.org/x/sys/..."},
	},
}

// singleFileLibraries are the libraries that exactly one file may import, so that each can
// be replaced in one place.
var singleFileLibraries = []string{"go.etcd.io/bbolt", "github.com/hashicorp/go-retryablehttp", "github.com/dunglas/httpsfv", "github.com/schollz/progressbar/v3", "github.com/rivo/uniseg", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"}

// testOnly are the packages that only tests may import, with all that they need.
var testOnly = []string{"github.com/nats-io/nats-server/...", "pawl/downloader/fleet/natstest", "pawl/downloader/fleet/fakebroker", "testing"}

// topLevel are the files and directories that the root directory may contain.
var topLevel = []string{"README.md", "LICENSE", "go.mod", "go.sum", ".gitignore", ".git", ".ci", ".github", "cmd", "downloader", "store", "chunk"}

type listedPackage struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "pawl/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listedPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// matches reports whether an import path matches one of the patterns of mayImport.
func matches(patterns []string, imported string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, all := strings.CutSuffix(p, "...")
		return p == imported || all && strings.HasPrefix(imported, below)
	})
}

// TestImports checks the imports of all packages against mayImport and singleFileLibraries.
func TestImports(t *testing.T) {
	users := make(map[string][]string)
	for _, p := range listPackages(t) {
		may, ok := mayImport[p.ImportPath]
		if !ok {
			t.Errorf("package %s is missing in mayImport", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			switch {
			case first == "pawl" && !matches(may.own, i),
				strings.Contains(first, ".") && !matches(may.others, i),
				first != "pawl" && !strings.Contains(first, ".") && matches(may.not, i):
				t.Errorf("%s must not import %s", p.ImportPath, i)
			}
		}
		for _, name := range p.GoFiles {
			for _, i := range importsOf(t, p, filepath.Join(p.Dir, name)) {
				users[i] = append(users[i], path.Join(p.ImportPath, name))
			}
		}
	}
	for _, library := range singleFileLibraries {
		if len(users[library]) != 1 {
			t.Errorf("%s is imported by %v, want one file", library, users[library])
		}
	}
}

// TestLinkedPackages checks that the program contains nothing that is for tests.
func TestLinkedPackages(t *testing.T) {
	for _, p := range []string{"pawl/cmd/pawl", "pawl/downloader/fleet"} {
		out, err := exec.Command("go", "list", "-deps", p).Output()
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.Lines(string(out)) {
			if name = strings.TrimSpace(name); matches(testOnly, name) {
				t.Errorf("%s needs %s, which only tests may import", p, name)
			}
		}
	}
}

// importsOf returns the imports of a file. It also checks that the packages store, chunk
// and list start no goroutine, and that no package has an init function.
func importsOf(t *testing.T, p listedPackage, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if p.ImportPath == "pawl/store" || p.ImportPath == "pawl/chunk" || p.ImportPath == "pawl/downloader/list" || p.ImportPath == "pawl/downloader/sched" {
				t.Errorf("%s starts a goroutine", file)
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				t.Errorf("%s has an init function", file)
			}
		}
		return true
	})
	var all []string
	for _, i := range f.Imports {
		all = append(all, strings.Trim(i.Path.Value, `"`))
	}
	return all
}

// TestTopLevel checks that all tracked files are below the entries of topLevel.
func TestTopLevel(t *testing.T) {
	out, err := exec.Command("git", "-C", "../..", "ls-files").Output()
	if err != nil {
		t.Skipf("not a checkout: %v", err)
	}
	for file := range strings.Lines(string(out)) {
		first, _, _ := strings.Cut(strings.TrimSpace(file), "/")
		if !slices.Contains(topLevel, first) {
			t.Errorf("unexpected %q at the top level", first)
		}
	}
}
