// Package aria2 lists the options of aria2(1), version 1.37. For each option it says how pawl treats
// it on a command line and in aria2.conf (Verdict), in the entries of an input file (EntryUse) and over
// RPC (RPCUse). The package is a table: it parses nothing and imports no package of pawl.
package aria2

// An Argument says whether an option has a value.
type Argument int

const (
	None     Argument = iota // never a value
	Optional                 // a value only behind "=", or joined to the letter
	Bool                     // as Optional; the value is true or false, and true without one
	Value                    // always a value
)

// A Verdict says how pawl treats an option on a command line or in aria2.conf.
type Verdict int

const (
	Translate Verdict = iota // an option of pawl does the same
	Ignore                   // it changes neither the file nor its place
	Drop                     // somebody may rely on it, so pawl warns that it does nothing
	Refuse                   // pawl cannot do it, and a run without it would not be the wanted one
)

// An EntryUse says how pawl treats an option below a URL in an input file, for example "  out=a.iso".
// aria2 allows fewer options there.
type EntryUse int

const (
	EntryUnknown     EntryUse = iota // aria2 has no such option there
	EntryApplied                     // it holds for the entry
	EntryIgnored                     // it changes how the file is downloaded, but neither its source nor its target
	EntryUnsupported                 // it may change the result, so pawl warns
)

// An RPCUse is how "pawl daemon" treats an option that comes over RPC: a set of the methods that apply it. Other
// methods ignore the option, as aria2 ignores options that it does not know or does not accept there. No
// option makes pawl read a file or run a command.
type RPCUse int

const (
	RPCAdd    RPCUse = 1 << iota // addUri and addMetalink
	RPCChange                    // changeOption
	RPCGlobal                    // changeGlobalOption; it holds for the downloads that are added later
	RPCRefuse                    // none, and it is an error, because the download would not be the wanted one

	everywhere = RPCAdd | RPCChange | RPCGlobal
)

// An Option is one option of aria2.
type Option struct {
	Name     string // long, without dashes
	Short    byte   // letter, 0 for none
	Argument Argument
	Verdict  Verdict
	Entry    EntryUse
	RPC      RPCUse
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

// Connections returns how many connections a download may have with the options split and
// max-connection-per-server. A parameter is 0 if its option is not given; the result is 0 for no limit.
// aria2 opens at most split connections, to all servers together. A split of more than 1 alone does not
// limit a download of pawl, because it is a number for several servers.
func Connections(split, perServer int) int {
	switch {
	case split > 0 && perServer > 0:
		return min(split, perServer)
	case perServer > 0, split == 1:
		return max(split, perServer)
	}
	return 0
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

// Options are all options of aria2 1.37, by verdict.
var Options = []Option{
	// Name, Short, Argument, Verdict, Entry, RPC, Reason
	{"version", 'v', None, Translate, EntryUnknown, 0, ""},
	{"help", 'h', Optional, Translate, EntryUnknown, 0, ""},
	{"timeout", 't', Value, Translate, EntryIgnored, 0, ""},
	{"connect-timeout", 0, Value, Translate, EntryIgnored, 0, ""},
	{"max-tries", 'm', Value, Translate, EntryIgnored, 0, ""},
	{"dir", 'd', Value, Translate, EntryApplied, everywhere, ""},
	{"out", 'o', Value, Translate, EntryApplied, RPCAdd | RPCChange, ""},
	{"split", 's', Value, Translate, EntryIgnored, everywhere, ""},
	{"referer", 0, Value, Translate, EntryApplied, everywhere, ""},
	{"lowest-speed-limit", 0, Value, Translate, EntryIgnored, 0, ""},
	{"max-overall-download-limit", 0, Value, Translate, EntryUnknown, RPCGlobal, ""},
	{"max-download-limit", 0, Value, Translate, EntryUnsupported, everywhere, ""},
	{"allow-overwrite", 0, Bool, Translate, EntryUnsupported, everywhere, ""},
	{"netrc-path", 0, Value, Translate, EntryUnknown, 0, ""},
	{"continue", 'c', Bool, Translate, EntryIgnored, everywhere, ""},
	{"no-netrc", 'n', Bool, Translate, EntryUnsupported, 0, ""},
	{"input-file", 'i', Value, Translate, EntryUnknown, 0, ""},
	{"max-concurrent-downloads", 'j', Value, Translate, EntryUnknown, RPCGlobal, ""},
	{"force-sequential", 'Z', Bool, Translate, EntryUnknown, 0, ""},
	{"auto-file-renaming", 0, Bool, Translate, EntryUnsupported, everywhere, ""},
	{"parameterized-uri", 'P', Bool, Translate, EntryUnsupported, 0, ""},
	{"no-conf", 0, Bool, Translate, EntryUnknown, 0, ""},
	{"conf-path", 0, Value, Translate, EntryUnknown, 0, ""},
	{"stop", 0, Value, Translate, EntryUnknown, 0, ""},
	{"quiet", 'q', Bool, Translate, EntryUnknown, 0, ""},
	{"remote-time", 'R', Bool, Translate, EntryUnsupported, 0, ""},
	{"dry-run", 0, Bool, Translate, EntryUnsupported, RPCRefuse, ""},
	{"on-download-complete", 0, Value, Translate, EntryUnknown, 0, ""},
	{"on-download-error", 0, Value, Translate, EntryUnknown, 0, ""},
	{"interface", 0, Value, Translate, EntryUnknown, 0, ""},
	{"disable-ipv6", 0, Bool, Translate, EntryUnknown, 0, ""},
	{"remove-control-file", 0, Bool, Translate, EntryUnsupported, everywhere, ""},
	{"save-session", 0, Value, Translate, EntryUnknown, 0, ""},
	{"max-connection-per-server", 'x', Value, Translate, EntryIgnored, everywhere, ""},
	{"conditional-get", 0, Bool, Translate, EntryUnsupported, everywhere, ""},
	{"retry-wait", 0, Value, Translate, EntryIgnored, 0, ""},
	{"show-console-readout", 0, Bool, Translate, EntryUnknown, 0, ""},
	{"checksum", 0, Value, Translate, EntryApplied, RPCAdd | RPCChange, ""},
	{"min-tls-version", 0, Value, Translate, EntryUnknown, 0, ""},
	{"http-user", 0, Value, Translate, EntryApplied, everywhere, ""},
	{"http-passwd", 0, Value, Translate, EntryApplied, everywhere, ""},
	{"user-agent", 'U', Value, Translate, EntryApplied, everywhere, ""},
	{"load-cookies", 0, Value, Translate, EntryUnsupported, RPCRefuse, ""},
	{"header", 0, Value, Translate, EntryApplied, everywhere, ""},
	{"certificate", 0, Value, Translate, EntryUnknown, 0, ""},
	{"private-key", 0, Value, Translate, EntryUnknown, 0, ""},
	{"ca-certificate", 0, Value, Translate, EntryUnknown, 0, ""},
	{"check-certificate", 0, Bool, Translate, EntryUnknown, 0, ""},
	{"http-no-cache", 0, Bool, Translate, EntryUnsupported, everywhere, ""},
	{"http-proxy", 0, Value, Translate, EntryUnsupported, RPCRefuse, ""},
	{"https-proxy", 0, Value, Translate, EntryUnsupported, RPCRefuse, ""},
	{"all-proxy", 0, Value, Translate, EntryUnsupported, RPCRefuse, ""},
	{"no-proxy", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"http-proxy-user", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"http-proxy-passwd", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"https-proxy-user", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"https-proxy-passwd", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"all-proxy-user", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"all-proxy-passwd", 0, Value, Translate, EntryUnsupported, 0, ""},
	{"metalink-file", 'M', Value, Translate, EntryUnknown, 0, ""},
	{"metalink-base-uri", 0, Value, Translate, EntryUnsupported, RPCAdd | RPCGlobal, ""},
	{"auto-save-interval", 0, Value, Ignore, EntryUnknown, 0, resumes},
	{"piece-length", 0, Value, Ignore, EntryIgnored, 0, verifies},
	{"file-allocation", 0, Value, Ignore, EntryIgnored, 0, writes},
	{"no-file-allocation-limit", 0, Value, Ignore, EntryIgnored, 0, writes},
	{"realtime-chunk-checksum", 0, Bool, Ignore, EntryIgnored, 0, verifies},
	{"check-integrity", 'V', Bool, Ignore, EntryIgnored, 0, verifies},
	{"deferred-input", 0, Bool, Ignore, EntryUnknown, 0, connects},
	{"optimize-concurrent-downloads", 0, Optional, Ignore, EntryUnknown, 0, connects},
	{"allow-piece-length-change", 0, Bool, Ignore, EntryUnsupported, 0, resumes},
	{"async-dns", 0, Bool, Ignore, EntryUnsupported, 0, connects},
	{"summary-interval", 0, Value, Ignore, EntryUnknown, 0, prints},
	{"log-level", 0, Value, Ignore, EntryUnknown, 0, prints},
	{"console-log-level", 0, Value, Ignore, EntryUnknown, 0, prints},
	{"uri-selector", 0, Value, Ignore, EntryIgnored, 0, connects},
	{"server-stat-timeout", 0, Value, Ignore, EntryUnknown, 0, connects},
	{"max-file-not-found", 0, Value, Ignore, EntryIgnored, 0, connects},
	{"event-poll", 0, Value, Ignore, EntryUnknown, 0, connects},
	{"rpc-listen-port", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-user", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-passwd", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-max-request-size", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-listen-all", 0, Bool, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-allow-origin-all", 0, Bool, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-certificate", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-private-key", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-secure", 0, Bool, Ignore, EntryUnknown, 0, rpcPart},
	{"rpc-save-upload-metadata", 0, Bool, Ignore, EntryUnsupported, 0, rpcPart},
	{"reuse-uri", 0, Bool, Ignore, EntryIgnored, 0, connects},
	{"human-readable", 0, Bool, Ignore, EntryUnknown, 0, prints},
	{"always-resume", 0, Bool, Ignore, EntryIgnored, 0, resumes},
	{"max-resume-failure-tries", 0, Value, Ignore, EntryIgnored, 0, resumes},
	{"min-split-size", 'k', Value, Ignore, EntryIgnored, 0, connects},
	{"enable-async-dns6", 0, Bool, Ignore, EntryUnsupported, 0, connects},
	{"max-download-result", 0, Value, Ignore, EntryUnknown, 0, prints},
	{"stream-piece-selector", 0, Value, Ignore, EntryIgnored, 0, connects},
	{"truncate-console-readout", 0, Bool, Ignore, EntryUnknown, 0, prints},
	{"download-result", 0, Value, Ignore, EntryUnknown, 0, prints},
	{"enable-mmap", 0, Bool, Ignore, EntryIgnored, 0, writes},
	{"force-save", 0, Bool, Ignore, EntryIgnored, 0, resumes},
	{"save-not-found", 0, Bool, Ignore, EntryIgnored, 0, resumes},
	{"disk-cache", 0, Value, Ignore, EntryIgnored, 0, writes},
	{"gid", 0, Value, Ignore, EntryIgnored, RPCAdd, resumes},
	{"save-session-interval", 0, Value, Ignore, EntryUnknown, 0, resumes},
	{"enable-color", 0, Bool, Ignore, EntryUnknown, 0, prints},
	{"rpc-secret", 0, Value, Ignore, EntryUnknown, 0, rpcPart},
	{"pause-metadata", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"rlimit-nofile", 0, Value, Ignore, EntryUnknown, 0, connects},
	{"socket-recv-buffer-size", 0, Value, Ignore, EntryUnknown, 0, connects},
	{"max-mmap-limit", 0, Value, Ignore, EntryUnsupported, 0, writes},
	{"stderr", 0, Bool, Ignore, EntryUnknown, 0, prints},
	{"keep-unfinished-download-result", 0, Bool, Ignore, EntryUnknown, 0, prints},
	{"ftp-user", 0, Value, Ignore, EntryUnsupported, 0, ftpPart},
	{"ftp-passwd", 0, Value, Ignore, EntryUnsupported, 0, ftpPart},
	{"ftp-type", 0, Value, Ignore, EntryUnsupported, 0, ftpPart},
	{"ftp-pasv", 'p', Bool, Ignore, EntryUnsupported, 0, ftpPart},
	{"ftp-reuse-connection", 0, Bool, Ignore, EntryUnsupported, 0, ftpPart},
	{"enable-http-keep-alive", 0, Bool, Ignore, EntryIgnored, 0, connects},
	{"enable-http-pipelining", 0, Bool, Ignore, EntryIgnored, 0, connects},
	{"use-head", 0, Bool, Ignore, EntryUnsupported, 0, connects},
	{"http-auth-challenge", 0, Bool, Ignore, EntryUnsupported, 0, connects},
	{"http-accept-gzip", 0, Bool, Ignore, EntryIgnored, 0, connects},
	{"content-disposition-default-utf8", 0, Bool, Ignore, EntryUnsupported, 0, connects},
	{"ftp-proxy", 0, Value, Ignore, EntryUnsupported, 0, ftpPart},
	{"proxy-method", 0, Value, Ignore, EntryUnsupported, 0, connects},
	{"ftp-proxy-user", 0, Value, Ignore, EntryUnsupported, 0, ftpPart},
	{"ftp-proxy-passwd", 0, Value, Ignore, EntryUnsupported, 0, ftpPart},
	{"max-overall-upload-limit", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"max-upload-limit", 'u', Value, Ignore, EntryUnsupported, 0, torrent},
	{"listen-port", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"follow-torrent", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"select-file", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"seed-time", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"seed-ratio", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"peer-id-prefix", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"peer-agent", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"enable-peer-exchange", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"enable-dht", 0, Bool, Ignore, EntryUnknown, 0, torrent},
	{"dht-listen-port", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"dht-entry-point", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"dht-file-path", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"enable-dht6", 0, Bool, Ignore, EntryUnknown, 0, torrent},
	{"dht-listen-addr6", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"dht-entry-point6", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"dht-file-path6", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"bt-min-crypto-level", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-require-crypto", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-request-peer-speed-limit", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-max-open-files", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"bt-seed-unverified", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-hash-check-seed", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-max-peers", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-external-ip", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"index-out", 'O', Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-tracker-interval", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-stop-timeout", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-prioritize-piece", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-save-metadata", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-metadata-only", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-enable-lpd", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-lpd-interface", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"bt-tracker-timeout", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-tracker-connect-timeout", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"dht-message-timeout", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"on-bt-download-complete", 0, Value, Ignore, EntryUnknown, 0, torrent},
	{"bt-tracker", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-exclude-tracker", 0, Value, Ignore, EntryUnsupported, 0, torrent},
	{"bt-remove-unselected-file", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-detach-seed-only", 0, Bool, Ignore, EntryUnknown, 0, torrent},
	{"bt-force-encryption", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-enable-hook-after-hash-check", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"bt-load-saved-metadata", 0, Bool, Ignore, EntryUnsupported, 0, torrent},
	{"follow-metalink", 0, Value, Ignore, EntryUnsupported, 0, lists},
	{"metalink-preferred-protocol", 0, Value, Ignore, EntryUnsupported, 0, lists},
	{"metalink-enable-unique-protocol", 0, Bool, Ignore, EntryUnsupported, 0, lists},
	{"no-want-digest-header", 0, Bool, Ignore, EntryUnsupported, 0, verifies},

	{"log", 'l', Value, Drop, EntryUnknown, 0, log},
	{"server-stat-if", 0, Value, Drop, EntryUnknown, 0, servers},
	{"server-stat-of", 0, Value, Drop, EntryUnknown, 0, servers},
	{"on-download-start", 0, Value, Drop, EntryUnknown, 0, hook},
	{"on-download-pause", 0, Value, Drop, EntryUnknown, 0, hook},
	{"on-download-stop", 0, Value, Drop, EntryUnknown, 0, hook},
	{"stop-with-process", 0, Value, Drop, EntryUnknown, 0, stop},
	{"dscp", 0, Value, Drop, EntryUnknown, 0, dscp},
	{"save-cookies", 0, Value, Drop, EntryUnknown, 0, cookies},
	{"metalink-version", 0, Value, Drop, EntryUnsupported, 0, metalink},
	{"metalink-language", 0, Value, Drop, EntryUnsupported, 0, metalink},
	{"metalink-os", 0, Value, Drop, EntryUnsupported, 0, metalink},
	{"metalink-location", 0, Value, Drop, EntryUnsupported, 0, metalink},

	{"daemon", 'D', Bool, Refuse, EntryUnknown, 0, background},
	{"enable-rpc", 0, Bool, Refuse, EntryUnknown, 0, rpc},
	{"multiple-interface", 0, Value, Refuse, EntryUnknown, 0, interfaces},
	{"async-dns-server", 0, Value, Refuse, EntryUnknown, 0, dns},
	{"pause", 0, Bool, Refuse, EntryUnsupported, RPCAdd, queue},
	{"hash-check-only", 0, Bool, Refuse, EntryUnsupported, RPCRefuse, verify},
	{"ssh-host-key-md", 0, Value, Refuse, EntryUnsupported, 0, ftp},
	{"show-files", 'S', Bool, Refuse, EntryUnknown, 0, shows},
	{"torrent-file", 'T', Value, Refuse, EntryUnknown, 0, bt},
}
