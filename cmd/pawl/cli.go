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
// The tags follow some rules. The options of other tools belong to "pawl as", and not to this
// grammar. Lists of URLs and headers have sep:"none", because commas are legal in both. Every
// option can also be set by PAWL_NAME, unless env:"-" excludes it, and in config files, unless typed:"" does.
type CLI struct {
	Globals

	Get      GetCmd    `cmd:"" default:"withargs" help:"Download each URL, or resume it if an earlier run was interrupted (the default command)."`
	Mirror   MirrorCmd `cmd:"" help:"Bring a directory in line with lists of files, unattended."`
	Resume   ResumeCmd `cmd:"" help:"Resume unfinished downloads."`
	List     ListCmd   `cmd:"" help:"List downloads; works while others run."`
	Verify   VerifyCmd `cmd:"" help:"Read files again and compare them with what is recorded or with digests; fetch wrong pieces again."`
	Info     InfoCmd   `cmd:"" help:"Ask a server about a file, without downloading it."`
	Remove   RemoveCmd `cmd:"" help:"Forget downloads."`
	Report   ReportCmd `cmd:"" help:"Merge the reports of the shards of a run."`
	Settings ConfigCmd `cmd:"" name:"config" help:"Print each setting, and where it comes from; or turn the configuration file of another tool into one of pawl."`
	Daemon   DaemonCmd `cmd:"" help:"Run a queue of downloads that outlives the terminal, for pawl add, for programs that speak aria2's RPC, and with a page for the browser."`
	Add      AddCmd    `cmd:"" help:"Add downloads, or a list of files, to the queue of the daemon."`
	Work     WorkCmd   `cmd:"" help:"Fetch files of the queue of a fleet, for pawl mirror --queue on any machine."`
	Pause    PauseCmd  `cmd:"" help:"Stop downloads of the daemon until pawl resume."`
	Queue    QueueCmd  `cmd:"" help:"Administer the queue of a fleet, which fetches lists on many machines (pawl help fleet). For the queue of the daemon, see list, pause and resume."`
	As       AsCmd     `cmd:"" passthrough:"" help:"Read another tool's command line: as aria2c, curl, wget or axel."`

	Completion CompletionCmd `cmd:"" help:"Print a script that completes command lines of pawl in a shell."`
}

// Globals are the options of every command.
type Globals struct {
	ConfigOptions
	OutputOptions
}

// ConfigOptions name the state directory and the config file.
type ConfigOptions struct {
	State    string `placeholder:"DIR" type:"path" group:"Configuration" help:"Directory of the state file (default: $${XDG_STATE_HOME}/pawl or ~/.local/state/pawl)."`
	Config   string `placeholder:"FILE" type:"path" group:"Configuration" help:"Read options from FILE, lines of name = value, instead of the user's config file."`
	NoConfig bool   `group:"Configuration" help:"Read no config file."`
}

// OutputOptions select the output.
type OutputOptions struct {
	Quiet   bool             `short:"q" group:"Output" help:"Print only errors and warnings."`
	Verbose bool             `short:"v" group:"Output" help:"Print every retry, every refused connection and every message, however many are alike."`
	NoColor bool             `group:"Output" help:"Print no colors. The variable NO_COLOR and a terminal without them do the same."`
	JSON    bool             `name:"json" group:"Output" help:"Print events on stdout, one JSON object per line."`
	Version kong.VersionFlag `short:"V" env:"-" group:"Output" help:"Print the version, the commit and the version of Go."`
}

// Transfer are the options of the commands that download.
type Transfer struct {
	SpeedOptions
	RetryOptions
	RunOptions
	RequestOptions
	CredentialOptions
	NetworkOptions
	TLSOptions
	TrustOptions
	FileOptions
	ResultOptions
}

// SpeedOptions limit how much is transferred at the same time.
type SpeedOptions struct {
	Connections     connLimit   `short:"x" placeholder:"N" group:"Transfer" help:"Most connections per host (default: 16, and 48 while a host serves the small files of a list); they are opened as needed."`
	SplitUnverified bool        `group:"Transfer" help:"Use several connections even if the server sends no validator and no digest is known. If the file changes meanwhile, two versions may be mixed unnoticed."`
	Jobs            int         `short:"j" placeholder:"N" group:"Transfer" help:"Files to download at the same time (default: 4, or 16 for many URLs; in mirror, as many as the connections allow)."`
	LimitRate       timetable   `placeholder:"RATE" group:"Transfer" help:"Bytes per second of all downloads together, such as 500K, 10M or 1G, or a rate for each time of day, such as 08:00=2M,18:00=off."`
	MaxRequestRate  requestRate `placeholder:"N/s" group:"Transfer" help:"Most requests to each host per second or, as N/m, per minute."`
}

// RetryOptions say how long to wait and how often to try. A nil pointer is an option that
// was not given: its default depends on other options or on the command.
type RetryOptions struct {
	Tries          *tries    `placeholder:"N" group:"Retries and timeouts" help:"Consecutive failures without a byte received before giving up (default: 10; in mirror, 5 in each round); 0 or inf for no limit."`
	RetryWait      duration  `default:"1s" placeholder:"D" group:"Retries and timeouts" help:"Wait after the first failure; it doubles with each further one (default: ${default})."`
	RetryMaxWait   *duration `placeholder:"D" group:"Retries and timeouts" help:"Longest wait (default: 60s, and 5m if the server asks for it)."`
	ConnectTimeout *duration `placeholder:"D" group:"Retries and timeouts" help:"Longest wait for a connection (default: 30s)."`
	StallTimeout   *duration `placeholder:"D" group:"Retries and timeouts" help:"Longest silence of a connection (default: 30s)."`
	MinRate        minRate   `placeholder:"RATE[:D]" group:"Retries and timeouts" help:"Close a connection that is slower than RATE for D (default: 64 bytes per second for a minute; D defaults to 30s)."`
}

// RunOptions say when a run begins and ends.
type RunOptions struct {
	Deadline duration  `placeholder:"D" group:"Retries and timeouts" help:"Stop cleanly after D, with exit code 75."`
	StartAt  startTime `placeholder:"TIME" group:"Retries and timeouts" help:"Wait until TIME by the clock before anything is requested: 23:30, 'tomorrow 2:00', '2026-12-01 02:00', a time of RFC 3339, or +2h from now."`
}

// RequestOptions are the header fields of requests.
type RequestOptions struct {
	Header    []header `short:"H" sep:"none" placeholder:"'N: V'" group:"Request" help:"Send a header to the hosts of the URLs that you type. 'HOST=N: V' sends it to HOST, @FILE reads headers from FILE, one per line; repeatable."`
	UserAgent string   `short:"U" placeholder:"NAME" group:"Request" help:"Send as User-Agent (default: pawl)."`
	Referer   string   `placeholder:"URL" group:"Request" help:"Send as Referer."`

	hosts hostTable // settings of hosts in config files
}

// CredentialOptions identify the user. Like headers, they are for the origins that the user types.
type CredentialOptions struct {
	LoginOptions
	StoredCredentials
	CertificateOptions

	loaded credentialSet // by loadCredentials
}

// LoginOptions are the credentials for all origins that the user types.
type LoginOptions struct {
	User       userLogin  `short:"u" placeholder:"USER[:PASS]" group:"Credentials" help:"User and password for the hosts of the URLs that you type; without a password, pawl asks for it. The server chooses Basic or Digest authentication."`
	BearerFile secretFile `placeholder:"FILE" group:"Credentials" help:"Send the token in FILE, as Authorization: Bearer."`
}

// StoredCredentials are credentials that are stored by host.
type StoredCredentials struct {
	NetrcFile   secretFile `placeholder:"FILE" group:"Credentials" help:"Take users and passwords from FILE (default: $${NETRC} or ~/.netrc)."`
	NoNetrc     bool       `group:"Credentials" help:"Read no netrc file."`
	LoadCookies secretFile `placeholder:"FILE" group:"Credentials" help:"Send the cookies in FILE, which has Netscape's format (cookies.txt)."`
}

// CertificateOptions are the client certificate.
type CertificateOptions struct {
	Cert secretFile `placeholder:"FILE" group:"Credentials" help:"Client certificate in PEM form, with the certificates of its issuers if the server needs them."`
	Key  secretFile `placeholder:"FILE" group:"Credentials" help:"Private key of --cert in PEM form (default: in the same file)."`
}

// NetworkOptions say how hosts are reached.
type NetworkOptions struct {
	Proxy     string         `placeholder:"URL" group:"Network" help:"Send all requests through this proxy, in place of those of http_proxy, https_proxy and all_proxy: http, https, socks5 (pawl looks up names) or socks5h (the proxy does), such as socks5h://USER:PASSWORD@HOST:PORT. Others can see it in ps here, but not in PAWL_PROXY or a config file."`
	NoProxy   *string        `placeholder:"HOSTS" group:"Network" help:"Hosts that are requested without a proxy, in place of no_proxy: HOST, .DOMAIN, ADDRESS or NETWORK/BITS, separated by commas, or * for all."`
	IPv4      bool           `name:"ipv4" env:"PAWL_IPV4" short:"4" xor:"family" group:"Network" help:"Use only IPv4 addresses."`
	IPv6      bool           `name:"ipv6" env:"PAWL_IPV6" short:"6" xor:"family" group:"Network" help:"Use only IPv6 addresses."`
	Resolve   []fixedAddress `sep:"none" placeholder:"HOST:PORT:ADDR" group:"Network" help:"Connect to ADDR, or to several, separated by commas, for HOST and PORT; repeatable. * is any other HOST. +HOST:PORT:ADDR holds for five minutes; --resolve=-HOST:PORT looks up the host although there is a *."`
	Interface string         `placeholder:"NAME|ADDR" group:"Network" help:"Open connections from this network interface, such as eth0, or from this address of the machine."`
}

// TLSOptions say which servers are trusted.
type TLSOptions struct {
	CACert    string `name:"cacert" placeholder:"FILE" type:"path" group:"TLS" help:"Trust the certificates in FILE in addition to the system's."`
	TLSLegacy bool   `name:"tls-legacy" group:"TLS" help:"Also accept outdated TLS: versions 1.0 and 1.1, RSA key exchange, and ciphers such as 3DES."`
	Insecure  bool   `short:"k" group:"TLS" help:"Do not verify the certificates of servers, and follow redirects from https to http."`
}

// TrustOptions limit the URLs that servers and lists may name.
type TrustOptions struct {
	Proto           protocols `default:"http,https" placeholder:"LIST" group:"Trust" help:"Schemes allowed in redirects, in lists, and for mirrors that servers name, such as https (default: ${default})."`
	AllowHTTP       bool      `name:"allow-http" group:"Trust" help:"Follow redirects from https to http, and mix bytes of both, although no digest of the file is given."`
	AllowPrivate    bool      `group:"Trust" help:"Let public servers and lists name private addresses, such as 127.0.0.1 and 192.168.0.1."`
	NoServerMirrors bool      `group:"Trust" help:"Do not use mirrors that a server names (Link: rel=duplicate)."`

	IgnoreServerDigest bool `group:"Trust" help:"Do not verify the digests that servers name, such as Repr-Digest. Use it for a server that names wrong ones."`
}

// FileOptions limit the files that may be written to the disk.
type FileOptions struct {
	PlaceOptions
	Restart bool `group:"Files" help:"Discard the progress and start over."`
}

// PlaceOptions say which existing files may be replaced, and which files of a server are accepted.
type PlaceOptions struct {
	Overwrite    bool        `group:"Files" help:"Replace files that were not downloaded by pawl."`
	Adopt        bool        `group:"Files" help:"Take a file that is there already, although pawl did not download it, if its size is that of the file on the server, which costs one small request. A file with the wanted digest is taken in any case."`
	Continue     bool        `short:"c" group:"Files" help:"Also continue what another program has left: a part of the file under its name, or as NAME.part, NAME.crdownload and the like; of aria2 also with its control file. Some of its bytes are compared with the server first. What pawl began itself is continued in any case."`
	AutoRename   bool        `group:"Files" help:"If a file is in the way that may not be replaced, add a number to the name: a.1.zip."`
	NoClobber    bool        `group:"Files" help:"If a file is in the way that may not be replaced, leave it, and take it as done: exit code 0. It has priority over --overwrite and --auto-rename."`
	OnChange     string      `enum:"restart,fail" default:"restart" placeholder:"restart|fail" group:"Files" help:"If the remote file has changed: start over, the default, or fail with exit code 17 and keep the downloaded part."`
	Expect       []mediaType `placeholder:"TYPE" group:"Files" help:"Media type that the server must send, such as application/zip or image/*, or must not send, such as !text/html; repeatable. Another type fails with exit code 7 before anything is stored."`
	MinFree      byteSize    `placeholder:"N" group:"Files" help:"Leave N bytes of the disk free, such as 500M or 10G: a download that would leave less fails with exit code 9 (default: no limit)."`
	MaxSize      byteSize    `placeholder:"N" group:"Files" help:"Largest size of a file, such as 500K, 10M or 1G; a larger one fails with exit code 7, before it is downloaded if its size is known."`
	NoRemoteTime bool        `group:"Files" help:"Do not take the modification time from the server."`
}

// ResultOptions name a report and hooks for the outcome of each file.
type ResultOptions struct {
	Report      string   `placeholder:"FILE" type:"path" group:"Output" help:"Write a JSON report with the outcome of each file to FILE at the end. It contains full URLs, so it has mode 0600."`
	OnComplete  string   `placeholder:"CMD" group:"Output" help:"Run CMD in a shell for each downloaded file, with its path as $$1 and PAWL_FILE_* in the environment. A single command that does not name $$1 gets the path as its last word; see pawl help report."`
	OnError     string   `placeholder:"CMD" group:"Output" help:"Run CMD in the same way for each file that failed."`
	OnEnd       string   `placeholder:"CMD" group:"Output" help:"Run CMD in the same way once, at the end of get, mirror and resume, also after a failure or a signal, with the path of the report, if there is one, as $$1, and PAWL_END_EXIT in the environment."`
	HookTimeout duration `placeholder:"D" group:"Output" help:"Stop a CMD that runs longer than D, with all its processes (default: no limit, but a warning after 10 minutes)."`
	NoProgress  bool     `group:"Output" help:"Draw no progress bar."`
}

// GetCmd downloads URLs.
type GetCmd struct {
	URLs      []string `arg:"" name:"url" placeholder:"URL" help:"http or https URLs; [1-20] and {a,b} in them are patterns."`
	Output    string   `short:"o" placeholder:"FILE" group:"Files" help:"Local name (one URL). DIR/ or a directory that exists is the place of the files; - streams to stdout; /dev/null is a test of the speed."`
	Dir       string   `short:"d" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory (default: the working directory)."`
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
	AsCurl    string   `name:"as-curl" env:"-" placeholder:"'curl …'" group:"Request" help:"New URL and headers, from a browser's \"copy as cURL\", if a link or a cookie has expired (one download); - reads the command from standard input."`
	Transfer
}

// ListCmd prints the recorded downloads.
type ListCmd struct {
	All   bool `short:"a" help:"Print finished downloads too."`
	Map   bool `help:"Show below each unfinished download which pieces of it are here: # all of a piece, + a part, . nothing."`
	Watch bool `help:"Show the downloads live on a terminal, with keys: p pauses the selected one, r resumes it, x removes it, q quits."`
	IDs   bool `name:"ids" hidden:"" help:"Print the ID and the path of each download, for the completion of shells."`
}

// DaemonCmd runs the queue. Its options of downloads are the defaults for all programs and pages that add
// downloads. A login is not among them, because any of these could send it to any host.
type DaemonCmd struct {
	Root        string     `placeholder:"DIR" type:"path" group:"Daemon" help:"Directory for all files; nothing is written outside of it (default: the user's directory of downloads or, if there is none, the working directory)."`
	Listen      []string   `sep:"none" placeholder:"ADDR" group:"Daemon" help:"Listen at HOST:PORT or unix:PATH, repeatable (default: 127.0.0.1:6800). An address that other machines reach needs --tls-cert and --tls-key. A socket of systemd has priority."`
	Host        []string   `sep:"none" placeholder:"NAME" group:"Daemon" help:"Another name of this machine by which browsers and programs may call the daemon, such as nas.lan; repeatable."`
	AllowOrigin []string   `sep:"none" placeholder:"ORIGIN" group:"Daemon" help:"Also let the web pages of ORIGIN use the daemon, such as https://ariang.example.org, if they have its secret; null stands for files on this machine; repeatable."`
	SecretFile  secretFile `placeholder:"FILE" group:"Daemon" help:"Take the secret, of at least 16 characters, from FILE, and keep it in the state directory, as the one that is made at the first start (daemon-secret)."`
	TLSCert     secretFile `name:"tls-cert" placeholder:"FILE" group:"Daemon" help:"Speak https with the certificate in FILE, in PEM form, with those of its issuers."`
	TLSKey      secretFile `name:"tls-key" placeholder:"FILE" group:"Daemon" help:"Private key of --tls-cert in PEM form (default: in the same file)."`
	Open        bool       `typed:"" env:"-" group:"Daemon" help:"Open the page of the daemon in the browser, or print a link to it, which holds once and for a minute. If a daemon runs already, only do that."`
	Stop        bool       `typed:"" env:"-" group:"Daemon" help:"End the daemon of the state directory, as a signal does, and wait until it has ended. If none runs, do nothing."`
	OnComplete  string     `typed:"" env:"-" placeholder:"CMD" group:"Output" help:"Run CMD in a shell for each downloaded file, with its path as $$1 and PAWL_FILE_* in the environment; see pawl help report. Only the command line of the daemon has these commands: neither config files nor programs that add downloads can set them."`
	OnError     string     `typed:"" env:"-" placeholder:"CMD" group:"Output" help:"Run CMD in the same way for each file that failed."`
	OnEnd       string     `typed:"" env:"-" placeholder:"CMD" group:"Output" help:"Run CMD in the same way each time when the last download of the queue has ended, with PAWL_END_EXIT in the environment: 0 or the exit code of the worst failure."`
	HookTimeout duration   `typed:"" env:"-" placeholder:"D" group:"Output" help:"Stop a CMD that runs longer than D, with all its processes (default: no limit, but a warning after 10 minutes)."`
	Keyring     string     `placeholder:"FILE" type:"path" group:"Lists" help:"Take only lists that have a signature in them, made by a key of FILE."`
	SpeedOptions
	RetryOptions
	RequestOptions
	StoredCredentials
	NetworkOptions
	TLSOptions
	TrustOptions
	PlaceOptions
	ListLimit
}

// AddCmd adds downloads to the queue of the daemon. Its options are for these downloads alone, so they are
// not taken from config files and the environment: there, the same names are for all downloads.
type AddCmd struct {
	URLs        []string  `arg:"" name:"url" placeholder:"URL" help:"http or https URLs; or with --list, lists of files: URLs, files, or - for standard input."`
	Dir         string    `short:"d" typed:"" env:"-" placeholder:"DIR" group:"Files" help:"Directory below the --root of the daemon, or an absolute path in it (default: the root itself)."`
	Output      string    `short:"o" aliases:"name" typed:"" env:"-" placeholder:"FILE" group:"Files" help:"Local name below the directory (one URL)."`
	Checksum    digest    `typed:"" env:"-" placeholder:"ALGO:HEX" group:"Files" help:"Digest that the file must have, in any form that get accepts (one URL)."`
	Mirror      []string  `sep:"none" typed:"" env:"-" placeholder:"URL" group:"Request" help:"Another URL of the same file, repeatable (one URL)."`
	LimitRate   byteRate  `typed:"" env:"-" placeholder:"RATE" group:"Transfer" help:"Bytes per second of each of these downloads, such as 500K, 10M or 1G."`
	Connections int       `short:"x" typed:"" env:"-" placeholder:"N" group:"Transfer" help:"Most connections of each of these downloads."`
	Header      []header  `short:"H" sep:"none" typed:"" env:"-" placeholder:"'N: V'" group:"Request" help:"Send a header to the hosts of the URLs; @FILE reads headers from FILE, which ps does not show; repeatable. The daemon keeps them in memory only: after a restart it asks for them."`
	UserAgent   string    `short:"U" typed:"" env:"-" placeholder:"NAME" group:"Request" help:"Send as User-Agent."`
	Referer     string    `typed:"" env:"-" placeholder:"URL" group:"Request" help:"Send as Referer."`
	User        userLogin `short:"u" typed:"" env:"-" placeholder:"USER[:PASS]" group:"Credentials" help:"User and password for the hosts of the URLs; without a password, pawl asks for it. The daemon keeps them in memory only."`
	Overwrite   bool      `typed:"" env:"-" group:"Files" help:"Replace files that were not downloaded by pawl."`
	List        bool      `typed:"" env:"-" help:"Each URL is a list of files, as of pawl mirror, and they are downloaded below the directory."`
	Paused      bool      `typed:"" env:"-" help:"Do not start before pawl resume."`
	First       bool      `typed:"" env:"-" help:"Put them before all others that wait (default: behind them)."`
}

// WorkCmd is a worker of a fleet. The run decides how files are placed; the options are about this machine and
// its use of hosts.
type WorkCmd struct {
	WorkDirOptions
	QueueOptions
	QueueSecretOptions
	WorkerOptions

	HeadersEverywhere bool `group:"Lists" help:"Send users and passwords, tokens, cookies, and headers that may be secrets to all hosts that the lists name."`
	SpeedOptions
	RetryOptions
	RunOptions
	RequestOptions
	CredentialOptions
	NetworkOptions
	TLSOptions
	TrustOptions
}

// WorkDirOptions are about the directory of a worker.
type WorkDirOptions struct {
	Dir          string   `short:"d" required:"" placeholder:"DIR" type:"path" group:"Files" help:"Directory for the files; nothing is written outside of it."`
	Shared       bool     `xor:"place" required:"" group:"Fleet" help:"All machines see DIR, which is on a shared file system. A file that a lost worker has begun is continued by another one."`
	Local        bool     `xor:"place" required:"" group:"Fleet" help:"DIR is on a disk of this machine."`
	MinFree      byteSize `placeholder:"N" group:"Files" help:"Leave N bytes of the disk free, such as 500M or 10G; without enough room, the worker ends with exit code 9, or with --shared the run pauses (default: no limit)."`
	NoRemoteTime bool     `group:"Files" help:"Do not take the modification time from the server."`
}

// WorkerOptions select the runs of a worker, and identify it in the fleet.
type WorkerOptions struct {
	OneRun string   `name:"run" placeholder:"RUN" group:"Fleet" help:"Work only for this run (default: for all)."`
	Once   bool     `group:"Fleet" help:"End when nothing is left to do, at once if there is no run yet (default: wait for more)."`
	Lease  duration `placeholder:"D" group:"Fleet" help:"How long the connections of a lost machine count as open, the same for all processes of the fleet (default: 1m). Its files go to others after half of it, at most 30s."`
	Name   string   `placeholder:"NAME" group:"Fleet" help:"Name of this worker (default: that of the machine). Files that failed go to workers with other names, which should mean other ways to the servers."`
}

// PauseCmd pauses downloads of the daemon.
type PauseCmd struct {
	Downloads []string `arg:"" optional:"" placeholder:"ID|PATH" help:"Downloads to pause; all of the daemon if none is named."`
}

// VerifyCmd reads files again.
type VerifyCmd struct {
	Files     []string `arg:"" optional:"" name:"file" placeholder:"ID|PATH|LIST" help:"What to verify: downloads, files, directories with all that was downloaded below them, or lists of files in --dir. A downloaded list of digests is verified itself, and then the files that it names; its ID means the list alone."`
	All       bool     `short:"a" help:"Verify everything that was ever downloaded."`
	URL       string   `name:"url" placeholder:"URL" group:"Request" help:"With --adopt PATH: where the file is from. A part file, or a finished one, that was copied from another machine or left by another program is compared with it, recorded and, with --repair, completed."`
	Repair    bool     `help:"Fetch the wrong pieces again from where they came from, if that still has the same file. Unfinished files are completed."`
	Checksum  digest   `placeholder:"ALGO:HEX" group:"Files" help:"Digest that the file must have, in any form that get accepts (one file)."`
	Checksums string   `placeholder:"FILE|URL" group:"Files" help:"Checksum file with the digests of the files; without other arguments, of all files in it. They need not be downloaded by pawl."`
	SignatureOptions
	Dir string `short:"d" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory of the files that lists and checksum files name (default: the working directory)."`
	ListLimit
	Transfer
}

// InfoCmd prints the response of a server for a file.
type InfoCmd struct {
	URL string `arg:"" name:"url" placeholder:"URL" help:"http or https URL."`
	Transfer
}

// RemoveCmd deletes records of downloads.
type RemoveCmd struct {
	Downloads []string `arg:"" placeholder:"ID|PATH" help:"Downloads to forget."`
	Files     bool     `help:"Delete their part files too, but never finished files."`
}

// ConfigCmd prints the settings. It takes the options of downloads, so that it also shows the effect of a
// command line.
type ConfigCmd struct {
	Import string `env:"-" placeholder:"FILE" type:"path" help:"Print the settings of FILE, an aria2.conf, .curlrc or .wgetrc, as a config file of pawl. Comments say what has no meaning here; - reads standard input."`
	Transfer
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
  config                print each setting, and where it comes from
  config --import FILE  turn aria2.conf, .curlrc or .wgetrc into a config file
  daemon                run a queue of downloads, with a page and aria2's RPC
  add URL...            add downloads to the queue of the daemon
  pause [ID|PATH...]    pause downloads of the daemon
  work -d DIR           fetch files of the queue of a fleet
  queue COMMAND         administer the queue of a fleet: status, pause, resume,
                        cancel, delete, limit, report, check
  as TOOL ARGS...       read the command line of aria2c, curl, wget or axel
  completion SHELL      print a script that completes command lines

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
