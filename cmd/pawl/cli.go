package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/alecthomas/kong"

	"pawl/chunk"
	"pawl/store"
)

// CLI is the command line. It reads like the help page.
type CLI struct {
	Globals

	Get    GetCmd    `cmd:"" default:"withargs" help:"Download each URL, going on where an earlier run was interrupted (the default command)."`
	Mirror MirrorCmd `cmd:"" help:"Bring a directory in line with lists of files, unattended."`
	Resume ResumeCmd `cmd:"" help:"Go on with unfinished downloads."`
	List   ListCmd   `cmd:"" help:"List downloads; works while others run."`
	Remove RemoveCmd `cmd:"" help:"Forget downloads."`
}

// Globals are the options of every command.
type Globals struct {
	State    string           `placeholder:"DIR" type:"path" group:"Where things are" help:"Directory of the state file (default: $${XDG_STATE_HOME}/pawl or ~/.local/state/pawl)."`
	Config   string           `placeholder:"FILE" type:"path" group:"Where things are" help:"Read options from FILE, lines of name = value, in place of the user's config file."`
	NoConfig bool             `group:"Where things are" help:"Read no config file."`
	Quiet    bool             `short:"q" group:"Output" help:"Print errors and warnings only."`
	Verbose  bool             `short:"v" group:"Output" help:"Print every retry and refusal."`
	JSON     bool             `name:"json" group:"Output" help:"Print events, one JSON object a line, on stdout."`
	Version  kong.VersionFlag `short:"V" env:"-" group:"Output" help:"Print the version."`
}

// Transfer are the options of the commands that download.
type Transfer struct {
	Connections     int         `short:"x" default:"16" placeholder:"N" aliases:"s,n,split,max-connection-per-server,num-connections" group:"Transfer" help:"Most connections per host (default: ${default}); they are opened as there is work."`
	SplitUnverified bool        `group:"Transfer" help:"Use several connections although the server sends no validator and no digest is known, so that two versions could be mixed without notice."`
	Jobs            int         `short:"j" placeholder:"N" aliases:"max-concurrent-downloads,parallel-max" group:"Transfer" help:"Files at once (default: 4, and in mirror as many as the connections have room for)."`
	LimitRate       timetable   `placeholder:"RATE" aliases:"max-overall-download-limit,bwlimit" group:"Transfer" help:"Bytes per second of all together, such as 500K, 10M or 1G, or each from its time of day on, such as 08:00=2M,18:00=off."`
	MaxRequestRate  requestRate `placeholder:"N/s" group:"Transfer" help:"Most requests to each host, per second or, as N/m, per minute."`
	Tries           *tries      `placeholder:"N" aliases:"max-tries,retry,retries" group:"Patience" help:"Consecutive failures without a byte before giving up (default: 10, and 5 in each round of mirror); 0 or inf for no end."`
	RetryWait       duration    `default:"1s" placeholder:"D" group:"Patience" help:"Wait after the first failure, doubling (default: ${default})."`
	RetryMaxWait    *duration   `placeholder:"D" group:"Patience" help:"Longest wait (default: 60s, and 5m where the server asks for it)."`
	ConnectTimeout  *duration   `placeholder:"D" group:"Patience" help:"Longest wait for a connection (default: 30s)."`
	StallTimeout    *duration   `placeholder:"D" group:"Patience" help:"Longest silence of a connection (default: 30s)."`
	MinRate         minRate     `placeholder:"RATE[:D]" aliases:"lowest-speed-limit" group:"Patience" help:"Give up a connection that is slower than RATE for D (default: 64 bytes per second for a minute; D defaults to 30s)."`
	Timeout         duration    `short:"T" default:"30s" hidden:"" help:"Sets --connect-timeout and --stall-timeout."`
	Deadline        duration    `placeholder:"D" group:"Patience" help:"Stop in order after D, with exit code 75."`
	Header          []header    `short:"H" sep:"none" placeholder:"'N: V'" group:"Request" help:"Send a header to the hosts of the URLs that you type. 'HOST=N: V' sends it to HOST, @FILE reads headers, one a line; repeatable."`
	UserAgent       string      `short:"U" aliases:"A" placeholder:"NAME" group:"Request" help:"Send as User-Agent (default: pawl)."`
	Referer         string      `placeholder:"URL" group:"Request" help:"Send as Referer."`
	CACert          string      `name:"cacert" aliases:"ca-certificate" placeholder:"FILE" type:"path" group:"TLS" help:"Trust the certificates in FILE, besides the system's."`
	Insecure        bool        `short:"k" aliases:"no-check-certificate" group:"TLS" help:"Do not ask servers to prove who they are, and follow redirects from https to http."`
	Proto           protocols   `default:"http,https" placeholder:"LIST" group:"Trust" help:"Schemes that redirects, lists, and mirrors that servers name may use, such as https (default: ${default})."`
	AllowPrivate    bool        `group:"Trust" help:"Let public servers and lists name private addresses, such as 127.0.0.1 and 192.168.0.1."`
	NoServerMirrors bool        `group:"Trust" help:"Do not use mirrors that a server names (Link: rel=duplicate)."`
	Overwrite       bool        `aliases:"allow-overwrite" group:"Files" help:"Replace a file that pawl did not make."`
	Restart         bool        `group:"Files" help:"Forget progress and begin again."`
	OnChange        string      `enum:"restart,fail" default:"restart" placeholder:"restart|fail" group:"Files" help:"What to do when the remote file has changed: begin again, the default, or fail with exit code 17 and keep what there is."`
	MinFree         byteSize    `placeholder:"N" group:"Files" help:"Leave N bytes of the disk free, such as 500M or 10G: a download that would leave less fails with exit code 9 (default: no limit)."`
	MaxSize         byteSize    `aliases:"max-filesize" placeholder:"N" group:"Files" help:"Most bytes of a file, such as 500K, 10M or 1G; a larger one fails with exit code 7, before it is fetched if its size is known."`
	NoRemoteTime    bool        `group:"Files" help:"Do not take the modification time from the server."`
	Report          string      `placeholder:"FILE" type:"path" group:"Output" help:"Write a JSON report to FILE at the end: each file's outcome. Its URLs are in full, so it has mode 0600."`
	OnComplete      string      `placeholder:"CMD" aliases:"on-download-complete" group:"Output" help:"Run CMD with the path of each file that was fetched, and PAWL_FILE_* in its environment."`
	OnError         string      `placeholder:"CMD" aliases:"on-download-error" group:"Output" help:"The same for each file that failed."`
	NoProgress      bool        `group:"Output" help:"Draw no progress bar."`
	NoColor         bool        `hidden:"" help:"Accepted; there is no color."`
	Fail            bool        `short:"f" hidden:"" help:"Accepted for those who paste curl's flags."`
	Location        bool        `short:"L" hidden:"" help:"Accepted for those who paste curl's flags."`
	Continue        bool        `short:"c" hidden:"" help:"Accepted for those who type wget's flags: pawl always goes on."`
}

// GetCmd downloads URLs.
type GetCmd struct {
	URLs      []string  `arg:"" name:"url" placeholder:"URL" help:"http or https URLs; [1-20] and {a,b} in them are patterns."`
	Output    string    `short:"o" aliases:"O,out" placeholder:"FILE" group:"Files" help:"Local name (one URL); - streams to stdout."`
	Dir       string    `short:"d" aliases:"P,directory-prefix,output-dir" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory (default: the working directory)."`
	Mirror    []string  `sep:"none" placeholder:"URL" group:"Request" help:"Another URL of the same file, repeatable (one URL): used beside it once it is proven to have the same bytes."`
	Checksum  chunk.Sum `placeholder:"ALGO:HEX" group:"Files" help:"Digest that the file must have: md5, sha1, sha224, sha256, sha384 or sha512 (one URL)."`
	Checksums string    `placeholder:"FILE|URL" group:"Files" help:"Checksum file that covers the URLs, such as SHA256SUMS."`
	Glob      bool      `negatable:"" default:"true" group:"Request" help:"Take [1-20], [001-100:2], [a-z] and {a,b} in URLs for patterns (the default here)."`
	SHA256    string    `name:"sha256" hidden:"" help:"The same as --checksum sha256:HEX."`
	ListLimit
	Transfer
}

// ResumeCmd goes on with recorded downloads.
type ResumeCmd struct {
	Downloads []string `arg:"" optional:"" placeholder:"ID|PATH" help:"Which ones; all unfinished ones if none is named."`
	URL       string   `name:"url" placeholder:"URL" group:"Request" help:"New address, where a signed link has expired (one download)."`
	Transfer
}

// ListCmd prints records.
type ListCmd struct {
	All bool `short:"a" help:"Finished ones too."`
}

// RemoveCmd forgets records.
type RemoveCmd struct {
	Downloads []string `arg:"" placeholder:"ID|PATH" help:"Which ones."`
	Files     bool     `help:"Delete their part files too, never finished files."`
}

// help prints the page of a command. That of the program has the options of its
// default command, too, which kong leaves out.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() == nil {
		get, err := kong.Trace(ctx.Kong, []string{"get"})
		if err != nil {
			return err
		}
		fmt.Fprint(ctx.Stdout, overview)
		options.NoAppSummary = true
		ctx = get
	}
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	_, err := io.WriteString(ctx.Stdout, exitCodes)
	return err
}

// overview begins the help page of the program.
const overview = `Usage: pawl URL... [flags]
       pawl COMMAND [flags]

Downloads large files, and goes on where an earlier run was interrupted.

Commands (see "pawl COMMAND --help"):
  get URL...            download, the default
  mirror LIST...        bring a directory in line with lists of files
  resume [ID|PATH...]   go on with unfinished downloads
  list                  list downloads; works while others run
  remove ID|PATH...     forget downloads

`

// exitCodes ends every help page.
const exitCodes = `
Exit codes: 0 all is there, whole and durable; 1 other error; 2 usage;
3 local file, or another pawl has it; 4 network; 5 TLS; 6 authentication;
7 protocol; 8 the server said no; 9 disk full; 13 a foreign file is in the way;
17 the remote file changed; 32 checksum mismatch; 75 temporary, run again;
130 interrupted and 143 terminated, resumable.
Proxies are taken from http_proxy, https_proxy, all_proxy and no_proxy; options
also from ~/.config/pawl/config and from PAWL_NAME in the environment.
`

// stateDir is where the state file is.
func (g *Globals) stateDir() (string, error) {
	if g.State != "" {
		return g.State, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pawl"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", store.ErrState, err)
	}
	switch runtime.GOOS {
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "pawl"), nil
	case "windows":
		if dir, err := os.UserCacheDir(); err == nil { // %LocalAppData%
			return filepath.Join(dir, "pawl"), nil
		}
	}
	return filepath.Join(home, ".local", "state", "pawl"), nil
}

// openStore opens the records; what they have to say goes to say.
func (g *Globals) openStore(say *printer, opts store.Options) (*store.Store, error) {
	dir, err := g.stateDir()
	if err != nil {
		return nil, err
	}
	opts.Warn = func(msg string) { say.warn("%s", msg) }
	return store.Open(dir, opts)
}
