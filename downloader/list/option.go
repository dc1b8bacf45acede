package list

import (
	"errors"
	"fmt"
	"strings"

	"pawl/chunk"
)

// silent are the options of aria2(1) that say how it should do its work, and
// nothing of what is fetched, from where, or where to. They are passed over.
var silent = setOf(`always-resume check-integrity connect-timeout continue disk-cache
	enable-http-keep-alive enable-http-pipelining enable-mmap file-allocation force-save gid
	http-accept-gzip lowest-speed-limit max-connection-per-server max-file-not-found
	max-resume-failure-tries max-tries min-split-size no-file-allocation-limit piece-length
	realtime-chunk-checksum retry-wait reuse-uri save-not-found split stream-piece-selector
	timeout uri-selector`)

// told are its options that somebody may rely on, and that are not acted on for
// one entry. They cost a warning each.
var told = setOf(`all-proxy all-proxy-passwd all-proxy-user allow-overwrite allow-piece-length-change
	async-dns auto-file-renaming bt-enable-hook-after-hash-check bt-enable-lpd bt-exclude-tracker
	bt-external-ip bt-force-encryption bt-hash-check-seed bt-load-saved-metadata bt-max-peers
	bt-metadata-only bt-min-crypto-level bt-prioritize-piece bt-remove-unselected-file
	bt-request-peer-speed-limit bt-require-crypto bt-save-metadata bt-seed-unverified
	bt-stop-timeout bt-tracker bt-tracker-connect-timeout bt-tracker-interval bt-tracker-timeout
	conditional-get content-disposition-default-utf8 dry-run enable-async-dns6
	enable-peer-exchange follow-metalink follow-torrent ftp-passwd ftp-pasv ftp-proxy
	ftp-proxy-passwd ftp-proxy-user ftp-reuse-connection ftp-type ftp-user hash-check-only
	http-auth-challenge http-no-cache http-proxy http-proxy-passwd http-proxy-user https-proxy
	https-proxy-passwd https-proxy-user index-out load-cookies max-download-limit
	max-mmap-limit max-upload-limit metalink-base-uri metalink-enable-unique-protocol
	metalink-language metalink-location metalink-os metalink-preferred-protocol metalink-version
	no-netrc no-proxy no-want-digest-header parameterized-uri pause pause-metadata proxy-method
	remote-time remove-control-file rpc-save-upload-metadata seed-ratio seed-time select-file
	ssh-host-key-md use-head`)

func setOf(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// set takes an option, the last of several, but for header fields. An error is
// of the value. A value that is empty takes the option back.
func (r *aria2Reader) set(name, value string, line int) (err error) {
	switch name {
	case "out":
		if r.e.Out = ""; value != "" {
			r.e.Out, err = localPath(value)
		}
	case "dir":
		r.e.Dir, err = value, checkDir(value)
	case "checksum":
		if r.e.Sum = (chunk.Sum{}); value != "" {
			r.e.Sum, err = chunk.ParseSum(value)
		}
	case "size":
		if r.e.Size = -1; value != "" {
			r.e.Size, err = parseSize(value)
		}
	default:
		return r.setField(name, value, line)
	}
	return err
}

// setField is set for options of the request, and for those that are not known.
func (r *aria2Reader) setField(name, value string, line int) error {
	switch name {
	case "header":
		return r.header(value)
	case "referer":
		r.referer = value
		return checkField(name, value)
	case "user-agent":
		r.agent = value
		return checkField(name, value)
	case "http-user":
		if r.user = value; strings.Contains(value, ":") {
			return errors.New("http-user has a colon (RFC 7617 section 2)")
		}
		return checkField(name, value)
	case "http-passwd":
		r.password = value
		return checkField(name, value)
	}
	switch {
	case told[name]:
		r.c.warnOnce(line, fmt.Errorf("option %q is not acted on", name))
	case !silent[name]:
		r.c.warnOnce(line, fmt.Errorf("unknown option %q", short(name)))
	}
	return nil
}

// header adds "Name: value".
func (r *aria2Reader) header(text string) error {
	name, value, ok := strings.Cut(text, ":")
	value = strings.Trim(value, blanks)
	if !ok {
		name = ""
	}
	if err := checkField(name, value); err != nil {
		return err
	}
	if r.fields += len(text); r.fields > maxFields {
		return fmt.Errorf("header fields are longer than %d bytes", maxFields)
	}
	r.add(name, value)
	return nil
}
