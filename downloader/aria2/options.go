// Package aria2 knows the options of aria2(1), version 1.37, and what pawl makes of each: on a
// command line, in aria2.conf, and in the entries of an input file. It is data: no package of
// pawl is imported, and nothing is parsed here.
package aria2

// An Argument says whether an option has a value.
type Argument int

const (
	None     Argument = iota // never a value
	Optional                 // a value only behind "=", or joined to the letter
	Bool                     // as Optional; the value is true or false, and true without one
	Value                    // always a value
)

// A Verdict says what pawl makes of an option on a command line or in aria2.conf.
type Verdict int

const (
	Translate Verdict = iota // an option of pawl does the same
	Ignore                   // it changes neither the file nor its place
	Drop                     // somebody may rely on it, so pawl warns that it does nothing
	Refuse                   // pawl cannot do what it asks for
)

// An EntryUse says what pawl makes of an option below a URL in an input file. aria2 allows
// fewer options there.
type EntryUse int

const (
	EntryUnknown     EntryUse = iota // aria2 has no such option there
	EntryApplied                     // the entry has it
	EntryIgnored                     // it concerns the way of downloading, not the source or the target
	EntryUnsupported                 // it may change the result, so pawl warns
)

// An Option is one option of aria2.
type Option struct {
	Name     string // long, without dashes
	Short    byte   // letter, 0 for none
	Argument Argument
	Verdict  Verdict
	Entry    EntryUse
	Reason   string // why pawl ignores, drops or refuses it; "" for Translate
}

// Lookup returns the option with a long name, and whether there is one.
func Lookup(name string) (Option, bool) {
	for _, o := range Options {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

// Reasons of Ignore.
const (
	connects = "pawl decides itself how it connects"
	ftpPart  = "it concerns FTP only"
	lists    = "pawl recognizes a metalink by its content"
	prints   = "it changes only what aria2 prints"
	resumes  = "pawl records by itself what it needs to resume"
	rpcPart  = "it concerns aria2's RPC only"
	torrent  = "it concerns BitTorrent only"
	verifies = "pawl verifies a file in any case"
	writes   = "pawl decides itself how it reserves space and writes"
)

// Reasons of Drop.
const (
	cookies  = "pawl keeps cookies in memory only"
	dscp     = "pawl marks no packets"
	hook     = "pawl runs commands for complete and for failed files only"
	log      = "pawl writes no log file; redirect standard error"
	metalink = "pawl takes all files of a metalink"
	servers  = "pawl remembers by itself what servers allow"
	stop     = "pawl does not watch other processes"
)

// Reasons of Refuse.
const (
	background = "pawl as aria2c stays in the foreground; let the shell put it into the background"
	bt         = "pawl downloads over HTTP and HTTPS only, not over BitTorrent"
	dns        = "pawl asks the name servers of the system"
	ftp        = "pawl downloads over HTTP and HTTPS only"
	interfaces = "pawl can bind to one interface only: --interface"
	queue      = "there is no queue to pause in"
	rpc        = "pawl as aria2c is no server"
	shows      = "pawl does not print the files of torrents and metalinks"
	verify     = "pawl verify does that"
)

// Options are all options of aria2 1.37.
var Options = []Option{
	{"version", 'v', None, Translate, EntryUnknown, ""},
	{"help", 'h', Optional, Translate, EntryUnknown, ""},
	{"timeout", 't', Value, Translate, EntryIgnored, ""},
	{"connect-timeout", 0, Value, Translate, EntryIgnored, ""},
	{"max-tries", 'm', Value, Translate, EntryIgnored, ""},
	{"dir", 'd', Value, Translate, EntryApplied, ""},
	{"out", 'o', Value, Translate, EntryApplied, ""},
	{"split", 's', Value, Translate, EntryIgnored, ""},
	{"referer", 0, Value, Translate, EntryApplied, ""},
	{"lowest-speed-limit", 0, Value, Translate, EntryIgnored, ""},
	{"max-overall-download-limit", 0, Value, Translate, EntryUnknown, ""},
	{"max-download-limit", 0, Value, Translate, EntryUnsupported, ""},
	{"allow-overwrite", 0, Bool, Translate, EntryUnsupported, ""},
	{"netrc-path", 0, Value, Translate, EntryUnknown, ""},
	{"continue", 'c', Bool, Translate, EntryIgnored, ""},
	{"no-netrc", 'n', Bool, Translate, EntryUnsupported, ""},
	{"input-file", 'i', Value, Translate, EntryUnknown, ""},
	{"max-concurrent-downloads", 'j', Value, Translate, EntryUnknown, ""},
	{"force-sequential", 'Z', Bool, Translate, EntryUnknown, ""},
	{"auto-file-renaming", 0, Bool, Translate, EntryUnsupported, ""},
	{"parameterized-uri", 'P', Bool, Translate, EntryUnsupported, ""},
	{"no-conf", 0, Bool, Translate, EntryUnknown, ""},
	{"conf-path", 0, Value, Translate, EntryUnknown, ""},
	{"stop", 0, Value, Translate, EntryUnknown, ""},
	{"quiet", 'q', Bool, Translate, EntryUnknown, ""},
	{"remote-time", 'R', Bool, Translate, EntryUnsupported, ""},
	{"dry-run", 0, Bool, Translate, EntryUnsupported, ""},
	{"on-download-complete", 0, Value, Translate, EntryUnknown, ""},
	{"on-download-error", 0, Value, Translate, EntryUnknown, ""},
	{"interface", 0, Value, Translate, EntryUnknown, ""},
	{"disable-ipv6", 0, Bool, Translate, EntryUnknown, ""},
	{"remove-control-file", 0, Bool, Translate, EntryUnsupported, ""},
	{"save-session", 0, Value, Translate, EntryUnknown, ""},
	{"max-connection-per-server", 'x', Value, Translate, EntryIgnored, ""},
	{"conditional-get", 0, Bool, Translate, EntryUnsupported, ""},
	{"retry-wait", 0, Value, Translate, EntryIgnored, ""},
	{"show-console-readout", 0, Bool, Translate, EntryUnknown, ""},
	{"checksum", 0, Value, Translate, EntryApplied, ""},
	{"min-tls-version", 0, Value, Translate, EntryUnknown, ""},
	{"http-user", 0, Value, Translate, EntryApplied, ""},
	{"http-passwd", 0, Value, Translate, EntryApplied, ""},
	{"user-agent", 'U', Value, Translate, EntryApplied, ""},
	{"load-cookies", 0, Value, Translate, EntryUnsupported, ""},
	{"header", 0, Value, Translate, EntryApplied, ""},
	{"certificate", 0, Value, Translate, EntryUnknown, ""},
	{"private-key", 0, Value, Translate, EntryUnknown, ""},
	{"ca-certificate", 0, Value, Translate, EntryUnknown, ""},
	{"check-certificate", 0, Bool, Translate, EntryUnknown, ""},
	{"http-no-cache", 0, Bool, Translate, EntryUnsupported, ""},
	{"http-proxy", 0, Value, Translate, EntryUnsupported, ""},
	{"https-proxy", 0, Value, Translate, EntryUnsupported, ""},
	{"all-proxy", 0, Value, Translate, EntryUnsupported, ""},
	{"no-proxy", 0, Value, Translate, EntryUnsupported, ""},
	{"http-proxy-user", 0, Value, Translate, EntryUnsupported, ""},
	{"http-proxy-passwd", 0, Value, Translate, EntryUnsupported, ""},
	{"https-proxy-user", 0, Value, Translate, EntryUnsupported, ""},
	{"https-proxy-passwd", 0, Value, Translate, EntryUnsupported, ""},
	{"all-proxy-user", 0, Value, Translate, EntryUnsupported, ""},
	{"all-proxy-passwd", 0, Value, Translate, EntryUnsupported, ""},
	{"metalink-file", 'M', Value, Translate, EntryUnknown, ""},
	{"metalink-base-uri", 0, Value, Translate, EntryUnsupported, ""},
	{"auto-save-interval", 0, Value, Ignore, EntryUnknown, resumes},
	{"piece-length", 0, Value, Ignore, EntryIgnored, verifies},
	{"file-allocation", 0, Value, Ignore, EntryIgnored, writes},
	{"no-file-allocation-limit", 0, Value, Ignore, EntryIgnored, writes},
	{"realtime-chunk-checksum", 0, Bool, Ignore, EntryIgnored, verifies},
	{"check-integrity", 'V', Bool, Ignore, EntryIgnored, verifies},
	{"deferred-input", 0, Bool, Ignore, EntryUnknown, connects},
	{"optimize-concurrent-downloads", 0, Optional, Ignore, EntryUnknown, connects},
	{"allow-piece-length-change", 0, Bool, Ignore, EntryUnsupported, resumes},
	{"async-dns", 0, Bool, Ignore, EntryUnsupported, connects},
	{"summary-interval", 0, Value, Ignore, EntryUnknown, prints},
	{"log-level", 0, Value, Ignore, EntryUnknown, prints},
	{"console-log-level", 0, Value, Ignore, EntryUnknown, prints},
	{"uri-selector", 0, Value, Ignore, EntryIgnored, connects},
	{"server-stat-timeout", 0, Value, Ignore, EntryUnknown, connects},
	{"max-file-not-found", 0, Value, Ignore, EntryIgnored, connects},
	{"event-poll", 0, Value, Ignore, EntryUnknown, connects},
	{"rpc-listen-port", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"rpc-user", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"rpc-passwd", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"rpc-max-request-size", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"rpc-listen-all", 0, Bool, Ignore, EntryUnknown, rpcPart},
	{"rpc-allow-origin-all", 0, Bool, Ignore, EntryUnknown, rpcPart},
	{"rpc-certificate", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"rpc-private-key", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"rpc-secure", 0, Bool, Ignore, EntryUnknown, rpcPart},
	{"rpc-save-upload-metadata", 0, Bool, Ignore, EntryUnsupported, rpcPart},
	{"reuse-uri", 0, Bool, Ignore, EntryIgnored, connects},
	{"human-readable", 0, Bool, Ignore, EntryUnknown, prints},
	{"always-resume", 0, Bool, Ignore, EntryIgnored, resumes},
	{"max-resume-failure-tries", 0, Value, Ignore, EntryIgnored, resumes},
	{"min-split-size", 'k', Value, Ignore, EntryIgnored, connects},
	{"enable-async-dns6", 0, Bool, Ignore, EntryUnsupported, connects},
	{"max-download-result", 0, Value, Ignore, EntryUnknown, prints},
	{"stream-piece-selector", 0, Value, Ignore, EntryIgnored, connects},
	{"truncate-console-readout", 0, Bool, Ignore, EntryUnknown, prints},
	{"download-result", 0, Value, Ignore, EntryUnknown, prints},
	{"enable-mmap", 0, Bool, Ignore, EntryIgnored, writes},
	{"force-save", 0, Bool, Ignore, EntryIgnored, resumes},
	{"save-not-found", 0, Bool, Ignore, EntryIgnored, resumes},
	{"disk-cache", 0, Value, Ignore, EntryIgnored, writes},
	{"gid", 0, Value, Ignore, EntryIgnored, resumes},
	{"save-session-interval", 0, Value, Ignore, EntryUnknown, resumes},
	{"enable-color", 0, Bool, Ignore, EntryUnknown, prints},
	{"rpc-secret", 0, Value, Ignore, EntryUnknown, rpcPart},
	{"pause-metadata", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"rlimit-nofile", 0, Value, Ignore, EntryUnknown, connects},
	{"socket-recv-buffer-size", 0, Value, Ignore, EntryUnknown, connects},
	{"max-mmap-limit", 0, Value, Ignore, EntryUnsupported, writes},
	{"stderr", 0, Bool, Ignore, EntryUnknown, prints},
	{"keep-unfinished-download-result", 0, Bool, Ignore, EntryUnknown, prints},
	{"ftp-user", 0, Value, Ignore, EntryUnsupported, ftpPart},
	{"ftp-passwd", 0, Value, Ignore, EntryUnsupported, ftpPart},
	{"ftp-type", 0, Value, Ignore, EntryUnsupported, ftpPart},
	{"ftp-pasv", 'p', Bool, Ignore, EntryUnsupported, ftpPart},
	{"ftp-reuse-connection", 0, Bool, Ignore, EntryUnsupported, ftpPart},
	{"enable-http-keep-alive", 0, Bool, Ignore, EntryIgnored, connects},
	{"enable-http-pipelining", 0, Bool, Ignore, EntryIgnored, connects},
	{"use-head", 0, Bool, Ignore, EntryUnsupported, connects},
	{"http-auth-challenge", 0, Bool, Ignore, EntryUnsupported, connects},
	{"http-accept-gzip", 0, Bool, Ignore, EntryIgnored, connects},
	{"content-disposition-default-utf8", 0, Bool, Ignore, EntryUnsupported, connects},
	{"ftp-proxy", 0, Value, Ignore, EntryUnsupported, ftpPart},
	{"proxy-method", 0, Value, Ignore, EntryUnsupported, connects},
	{"ftp-proxy-user", 0, Value, Ignore, EntryUnsupported, ftpPart},
	{"ftp-proxy-passwd", 0, Value, Ignore, EntryUnsupported, ftpPart},
	{"max-overall-upload-limit", 0, Value, Ignore, EntryUnknown, torrent},
	{"max-upload-limit", 'u', Value, Ignore, EntryUnsupported, torrent},
	{"listen-port", 0, Value, Ignore, EntryUnknown, torrent},
	{"follow-torrent", 0, Value, Ignore, EntryUnsupported, torrent},
	{"select-file", 0, Value, Ignore, EntryUnsupported, torrent},
	{"seed-time", 0, Value, Ignore, EntryUnsupported, torrent},
	{"seed-ratio", 0, Value, Ignore, EntryUnsupported, torrent},
	{"peer-id-prefix", 0, Value, Ignore, EntryUnknown, torrent},
	{"peer-agent", 0, Value, Ignore, EntryUnknown, torrent},
	{"enable-peer-exchange", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"enable-dht", 0, Bool, Ignore, EntryUnknown, torrent},
	{"dht-listen-port", 0, Value, Ignore, EntryUnknown, torrent},
	{"dht-entry-point", 0, Value, Ignore, EntryUnknown, torrent},
	{"dht-file-path", 0, Value, Ignore, EntryUnknown, torrent},
	{"enable-dht6", 0, Bool, Ignore, EntryUnknown, torrent},
	{"dht-listen-addr6", 0, Value, Ignore, EntryUnknown, torrent},
	{"dht-entry-point6", 0, Value, Ignore, EntryUnknown, torrent},
	{"dht-file-path6", 0, Value, Ignore, EntryUnknown, torrent},
	{"bt-min-crypto-level", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-require-crypto", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-request-peer-speed-limit", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-max-open-files", 0, Value, Ignore, EntryUnknown, torrent},
	{"bt-seed-unverified", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-hash-check-seed", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-max-peers", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-external-ip", 0, Value, Ignore, EntryUnsupported, torrent},
	{"index-out", 'O', Value, Ignore, EntryUnsupported, torrent},
	{"bt-tracker-interval", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-stop-timeout", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-prioritize-piece", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-save-metadata", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-metadata-only", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-enable-lpd", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-lpd-interface", 0, Value, Ignore, EntryUnknown, torrent},
	{"bt-tracker-timeout", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-tracker-connect-timeout", 0, Value, Ignore, EntryUnsupported, torrent},
	{"dht-message-timeout", 0, Value, Ignore, EntryUnknown, torrent},
	{"on-bt-download-complete", 0, Value, Ignore, EntryUnknown, torrent},
	{"bt-tracker", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-exclude-tracker", 0, Value, Ignore, EntryUnsupported, torrent},
	{"bt-remove-unselected-file", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-detach-seed-only", 0, Bool, Ignore, EntryUnknown, torrent},
	{"bt-force-encryption", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-enable-hook-after-hash-check", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"bt-load-saved-metadata", 0, Bool, Ignore, EntryUnsupported, torrent},
	{"follow-metalink", 0, Value, Ignore, EntryUnsupported, lists},
	{"metalink-preferred-protocol", 0, Value, Ignore, EntryUnsupported, lists},
	{"metalink-enable-unique-protocol", 0, Bool, Ignore, EntryUnsupported, lists},
	{"no-want-digest-header", 0, Bool, Ignore, EntryUnsupported, verifies},

	{"log", 'l', Value, Drop, EntryUnknown, log},
	{"server-stat-if", 0, Value, Drop, EntryUnknown, servers},
	{"server-stat-of", 0, Value, Drop, EntryUnknown, servers},
	{"on-download-start", 0, Value, Drop, EntryUnknown, hook},
	{"on-download-pause", 0, Value, Drop, EntryUnknown, hook},
	{"on-download-stop", 0, Value, Drop, EntryUnknown, hook},
	{"stop-with-process", 0, Value, Drop, EntryUnknown, stop},
	{"dscp", 0, Value, Drop, EntryUnknown, dscp},
	{"save-cookies", 0, Value, Drop, EntryUnknown, cookies},
	{"metalink-version", 0, Value, Drop, EntryUnsupported, metalink},
	{"metalink-language", 0, Value, Drop, EntryUnsupported, metalink},
	{"metalink-os", 0, Value, Drop, EntryUnsupported, metalink},
	{"metalink-location", 0, Value, Drop, EntryUnsupported, metalink},

	{"daemon", 'D', Bool, Refuse, EntryUnknown, background},
	{"enable-rpc", 0, Bool, Refuse, EntryUnknown, rpc},
	{"multiple-interface", 0, Value, Refuse, EntryUnknown, interfaces},
	{"async-dns-server", 0, Value, Refuse, EntryUnknown, dns},
	{"pause", 0, Bool, Refuse, EntryUnsupported, queue},
	{"hash-check-only", 0, Bool, Refuse, EntryUnsupported, verify},
	{"ssh-host-key-md", 0, Value, Refuse, EntryUnsupported, ftp},
	{"show-files", 'S', Bool, Refuse, EntryUnknown, shows},
	{"torrent-file", 'T', Value, Refuse, EntryUnknown, bt},
}
