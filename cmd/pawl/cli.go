package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// CLI is the command line. kong reads the grammar from its fields and their tags, and the
// fields have the order of the help pages. Embedded structs group options by subject; they
// have no effect on the grammar.
//
// The tags follow some rules. Aliases are the names of the same option in aria2, curl, wget
// and axel, and only there if the meaning is the same. Lists of URLs and headers have
// sep:"none", because commas are legal in both. Every option can also be set by PAWL_NAME,
// unless env:"-" excludes it.
type CLI struct {
	Globals

	Get    GetCmd    `cmd:"" default:"withargs" help:"Download each URL, or resume it if an earlier run was interrupted (the default command)."`
	Mirror MirrorCmd `cmd:"" help:"Bring a directory in line with lists of files, unattended."`
	Resume ResumeCmd `cmd:"" help:"Resume unfinished downloads."`
	List   ListCmd   `cmd:"" help:"List downloads; works while others run."`
	Verify VerifyCmd `cmd:"" help:"Read files again and compare them with what is recorded or with digests; fetch wrong pieces again."`
	Info   InfoCmd   `cmd:"" help:"Ask a server about a file, without downloading it."`
	Remove RemoveCmd `cmd:"" help:"Forget downloads."`
	Report ReportCmd `cmd:"" help:"Merge the reports of the shards of a run."`
}

// Globals are the options of every command.
type Globals struct {
	ConfigOptions
	OutputOptions
}

// ConfigOptions say where pawl keeps its state and finds its settings.
type ConfigOptions struct {
	State    string `placeholder:"DIR" type:"path" group:"Configuration" help:"Directory of the state file (default: $${XDG_STATE_HOME}/pawl or ~/.local/state/pawl)."`
	Config   string `placeholder:"FILE" type:"path" group:"Configuration" help:"Read options from FILE, lines of name = value, instead of the user's config file."`
	NoConfig bool   `group:"Configuration" help:"Read no config file."`
}

// OutputOptions say what is printed.
type OutputOptions struct {
	Quiet   bool             `short:"q" group:"Output" help:"Print only errors and warnings."`
	Verbose bool             `short:"v" group:"Output" help:"Print every retry, every refused connection and every message, however many are alike."`
	JSON    bool             `name:"json" group:"Output" help:"Print events on stdout, one JSON object per line."`
	Version kong.VersionFlag `short:"V" env:"-" group:"Output" help:"Print the version."`
}

// Transfer are the options of the commands that download.
type Transfer struct {
	SpeedOptions
	RetryOptions
	RequestOptions
	TLSOptions
	TrustOptions
	FileOptions
	ResultOptions
	IgnoredOptions
}

// SpeedOptions limit how much is transferred at the same time.
type SpeedOptions struct {
	Connections     int         `short:"x" default:"16" placeholder:"N" aliases:"s,n,split,max-connection-per-server,num-connections" group:"Transfer" help:"Most connections per host (default: ${default}); they are opened as needed."`
	SplitUnverified bool        `group:"Transfer" help:"Use several connections even if the server sends no validator and no digest is known. If the file changes meanwhile, two versions may be mixed unnoticed."`
	Jobs            int         `short:"j" placeholder:"N" aliases:"max-concurrent-downloads,parallel-max" group:"Transfer" help:"Files to download at the same time (default: 4, or 16 for many URLs; in mirror, as many as the connections allow)."`
	LimitRate       timetable   `placeholder:"RATE" aliases:"max-overall-download-limit,bwlimit" group:"Transfer" help:"Bytes per second of all downloads together, such as 500K, 10M or 1G, or a rate for each time of day, such as 08:00=2M,18:00=off."`
	MaxRequestRate  requestRate `placeholder:"N/s" group:"Transfer" help:"Most requests to each host per second or, as N/m, per minute."`
}

// RetryOptions say how long to wait and how often to try. A nil pointer is an option that
// was not given: its default depends on other options or on the command.
type RetryOptions struct {
	Tries          *tries    `placeholder:"N" aliases:"max-tries,retry,retries" group:"Retries and timeouts" help:"Consecutive failures without a byte received before giving up (default: 10; in mirror, 5 in each round); 0 or inf for no limit."`
	RetryWait      duration  `default:"1s" placeholder:"D" group:"Retries and timeouts" help:"Wait after the first failure; it doubles with each further one (default: ${default})."`
	RetryMaxWait   *duration `placeholder:"D" group:"Retries and timeouts" help:"Longest wait (default: 60s, and 5m if the server asks for it)."`
	ConnectTimeout *duration `placeholder:"D" group:"Retries and timeouts" help:"Longest wait for a connection (default: 30s)."`
	StallTimeout   *duration `placeholder:"D" group:"Retries and timeouts" help:"Longest silence of a connection (default: 30s)."`
	MinRate        minRate   `placeholder:"RATE[:D]" aliases:"lowest-speed-limit" group:"Retries and timeouts" help:"Close a connection that is slower than RATE for D (default: 64 bytes per second for a minute; D defaults to 30s)."`
	Timeout        duration  `short:"T" default:"30s" hidden:"" help:"Sets --connect-timeout and --stall-timeout."`
	Deadline       duration  `placeholder:"D" group:"Retries and timeouts" help:"Stop cleanly after D, with exit code 75."`
}

// RequestOptions are the header fields of requests.
type RequestOptions struct {
	Header    []header `short:"H" sep:"none" placeholder:"'N: V'" group:"Request" help:"Send a header to the hosts of the URLs that you type. 'HOST=N: V' sends it to HOST, @FILE reads headers from FILE, one per line; repeatable."`
	UserAgent string   `short:"U" aliases:"A" placeholder:"NAME" group:"Request" help:"Send as User-Agent (default: pawl)."`
	Referer   string   `placeholder:"URL" group:"Request" help:"Send as Referer."`
}

// TLSOptions say which servers are trusted.
type TLSOptions struct {
	CACert    string `name:"cacert" aliases:"ca-certificate" placeholder:"FILE" type:"path" group:"TLS" help:"Trust the certificates in FILE in addition to the system's."`
	TLSLegacy bool   `name:"tls-legacy" group:"TLS" help:"Also accept outdated TLS: versions 1.0 and 1.1, RSA key exchange, and ciphers such as 3DES."`
	Insecure  bool   `short:"k" aliases:"no-check-certificate" group:"TLS" help:"Do not verify the certificates of servers, and follow redirects from https to http."`
}

// TrustOptions limit the URLs that servers and lists may name.
type TrustOptions struct {
	Proto           protocols `default:"http,https" placeholder:"LIST" group:"Trust" help:"Schemes allowed in redirects, in lists, and for mirrors that servers name, such as https (default: ${default})."`
	AllowHTTP       bool      `name:"allow-http" group:"Trust" help:"Follow redirects from https to http, and mix bytes of both, although no digest of the file is given."`
	AllowPrivate    bool      `group:"Trust" help:"Let public servers and lists name private addresses, such as 127.0.0.1 and 192.168.0.1."`
	NoServerMirrors bool      `group:"Trust" help:"Do not use mirrors that a server names (Link: rel=duplicate)."`

	IgnoreServerDigest bool `group:"Trust" help:"Do not verify the digests that servers name, such as Repr-Digest. Use it for a server that names wrong ones."`
}

// FileOptions say what may be written to the disk.
type FileOptions struct {
	Overwrite    bool        `aliases:"allow-overwrite" group:"Files" help:"Replace files that were not downloaded by pawl."`
	Adopt        bool        `group:"Files" help:"Take a file that is there already, although pawl did not download it, if its size is that of the file on the server, which costs one small request. A file with the wanted digest is taken in any case."`
	Continue     bool        `short:"c" group:"Files" help:"Also continue what another program has left: a part of the file under its name, or as NAME.part, NAME.crdownload and the like; of aria2 also with its control file. Some of its bytes are compared with the server first. What pawl began itself is continued in any case."`
	AutoRename   bool        `aliases:"auto-file-renaming" group:"Files" help:"If a file is in the way that may not be replaced, add a number to the name: a.1.zip."`
	Restart      bool        `group:"Files" help:"Discard the progress and start over."`
	OnChange     string      `enum:"restart,fail" default:"restart" placeholder:"restart|fail" group:"Files" help:"If the remote file has changed: start over, the default, or fail with exit code 17 and keep the downloaded part."`
	Expect       []mediaType `placeholder:"TYPE" group:"Files" help:"Media type that the server must send, such as application/zip or image/*, or must not send, such as !text/html; repeatable. Another type fails with exit code 7 before anything is stored."`
	MinFree      byteSize    `placeholder:"N" group:"Files" help:"Leave N bytes of the disk free, such as 500M or 10G: a download that would leave less fails with exit code 9 (default: no limit)."`
	MaxSize      byteSize    `aliases:"max-filesize" placeholder:"N" group:"Files" help:"Largest size of a file, such as 500K, 10M or 1G; a larger one fails with exit code 7, before it is downloaded if its size is known."`
	NoRemoteTime bool        `group:"Files" help:"Do not take the modification time from the server."`
}

// ResultOptions say what happens with the outcome of each file.
type ResultOptions struct {
	Report      string   `placeholder:"FILE" type:"path" group:"Output" help:"Write a JSON report with the outcome of each file to FILE at the end. It contains full URLs, so it has mode 0600."`
	OnComplete  string   `placeholder:"CMD" aliases:"on-download-complete" group:"Output" help:"Run CMD in a shell for each downloaded file, with its path as $$1 and PAWL_FILE_* in the environment. A single command that does not name $$1 gets the path as its last word; see pawl help report."`
	OnError     string   `placeholder:"CMD" aliases:"on-download-error" group:"Output" help:"Run CMD in the same way for each file that failed."`
	HookTimeout duration `placeholder:"D" group:"Output" help:"Stop a CMD that runs longer than D, with all its processes (default: no limit, but a warning after 10 minutes)."`
	NoProgress  bool     `group:"Output" help:"Draw no progress bar."`
}

// IgnoredOptions are common options of other tools that have no effect here.
type IgnoredOptions struct {
	NoColor  bool `hidden:"" help:"Accepted; pawl prints no colors."`
	Fail     bool `short:"f" hidden:"" help:"Accepted for users who paste curl's flags."`
	Location bool `short:"L" hidden:"" help:"Accepted for users who paste curl's flags."`
}

// GetCmd downloads URLs.
type GetCmd struct {
	URLs      []string `arg:"" name:"url" placeholder:"URL" help:"http or https URLs; [1-20] and {a,b} in them are patterns."`
	Output    string   `short:"o" aliases:"O,out" placeholder:"FILE" group:"Files" help:"Local name (one URL). DIR/ or a directory that exists is the place of the files; - streams to stdout; /dev/null is a test of the speed."`
	Dir       string   `short:"d" aliases:"P,directory-prefix,output-dir" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory (default: the working directory)."`
	Mirror    []string `sep:"none" placeholder:"URL" group:"Request" help:"Another URL of the same file, repeatable (one URL): used as well, once it has proved to have the same bytes."`
	Checksum  digest   `placeholder:"ALGO:HEX" group:"Files" help:"Digest that the file must have: md5, sha1, sha224, sha256, sha384, sha512, blake2b or crc32c (one URL). The digest alone, a line of SHA256SUMS and sha256-BASE64 are accepted, too."`
	Checksums string   `placeholder:"FILE|URL" group:"Files" help:"Checksum file that covers the URLs, such as SHA256SUMS."`
	SignatureOptions
	Glob   bool   `negatable:"" default:"true" group:"Request" help:"Expand the patterns [1-20], [001-100:2], [a-z] and {a,b} in URLs (the default here)."`
	SHA256 digest `name:"sha256" hidden:"" help:"The same as --checksum sha256:HEX."`
	ListLimit
	Transfer
}

// ResumeCmd resumes recorded downloads.
type ResumeCmd struct {
	Downloads []string `arg:"" optional:"" placeholder:"ID|PATH" help:"Downloads to resume, also at the place to which their files were moved, or a directory with all downloads below it; all unfinished ones if none is named."`
	URL       string   `name:"url" placeholder:"URL" group:"Request" help:"New URL, for example if a signed link has expired (one download)."`
	Transfer
}

// ListCmd prints the recorded downloads.
type ListCmd struct {
	All bool `short:"a" help:"Print finished downloads too."`
}

// VerifyCmd reads files again.
type VerifyCmd struct {
	Files     []string `arg:"" optional:"" name:"file" placeholder:"ID|PATH|LIST" help:"What to verify: downloads, files, directories with all that was downloaded below them, or lists of files in --dir. A downloaded list of digests is verified itself, and then the files that it names; its ID means the list alone."`
	All       bool     `short:"a" help:"Verify everything that was ever downloaded."`
	URL       string   `name:"url" placeholder:"URL" group:"Request" help:"With --adopt PATH: where the file is from. A part file, or a finished one, that was copied from another machine or left by another program is compared with it, recorded and, with --repair, completed."`
	Repair    bool     `help:"Fetch the wrong pieces again from where they came from, if that still has the same file. Unfinished files are completed."`
	Checksum  digest   `placeholder:"ALGO:HEX" group:"Files" help:"Digest that the file must have, in any form that get accepts (one file)."`
	Checksums string   `placeholder:"FILE|URL" group:"Files" help:"Checksum file with the digests of the files; without other arguments, of all files in it. They need not be downloaded by pawl."`
	Dir       string   `short:"d" aliases:"P,directory-prefix,output-dir" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory of the files that lists and checksum files name (default: the working directory)."`
	ListLimit
	Transfer
}

// InfoCmd prints what a server says about a file.
type InfoCmd struct {
	URL string `arg:"" name:"url" placeholder:"URL" help:"http or https URL."`
	Transfer
}

// RemoveCmd deletes records of downloads.
type RemoveCmd struct {
	Downloads []string `arg:"" placeholder:"ID|PATH" help:"Downloads to forget."`
	Files     bool     `help:"Delete their part files too, but never finished files."`
}

// ReportCmd works on reports.
type ReportCmd struct {
	Merge MergeCmd `cmd:"" help:"Make one report of the reports of all shards of a run of mirror."`
}

// MergeCmd merges the reports of shards.
type MergeCmd struct {
	Reports []string `arg:"" name:"file" placeholder:"FILE" help:"The report of each shard, in any order."`
	Output  string   `short:"o" env:"-" placeholder:"FILE" type:"path" group:"Output" help:"Write the report to FILE (default: standard output)."`
}

// help prints the help page of a command. The page of the program itself also has the
// options of get, its default command, because kong leaves those out.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() == nil {
		get, err := kong.Trace(ctx.Kong, []string{"get"})
		if err != nil {
			return err
		}
		fmt.Fprint(ctx.Stdout, overview, topicOverview())
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

Downloads large files, and resumes interrupted downloads.

Commands (see "pawl COMMAND --help"):
  get URL...            download, the default
  mirror LIST...        bring a directory in line with lists of files
  resume [ID|PATH...]   resume unfinished downloads
  list                  list downloads; works while others run
  verify [ID|PATH|LIST...]
                        read files again; fetch wrong pieces again (--repair)
  info URL              ask a server about a file
  remove ID|PATH...     forget downloads
  report merge FILE...  merge the reports of the shards of a run

`

// exitCodes ends every help page. TestExitCodeTexts compares it with failureNames.
const exitCodes = `
Exit codes: 0 all files are complete and durable; 1 other error; 2 usage;
3 local file, or another pawl has it; 4 network; 5 TLS; 6 authentication;
7 protocol; 8 HTTP error; 9 disk full; 13 file exists; 17 remote file changed;
32 checksum mismatch; 75 temporary, run again; 129 hung up, 130 interrupted
and 143 terminated, resumable. See: pawl help exit-codes
Proxies are taken from http_proxy, https_proxy, all_proxy and no_proxy; options
also from ~/.config/pawl/config and from PAWL_NAME in the environment.
`
