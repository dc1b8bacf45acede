package main

// This file maps errors to exit codes and to hints.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	server "pawl/cmd/pawl/daemon"
	"pawl/cmd/pawl/dropin"
	"pawl/downloader"
	"pawl/downloader/credentials"
	"pawl/downloader/failure"
	"pawl/downloader/fleet"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/store"
)

// errDeadline is the cause of a context that --deadline has ended.
var errDeadline = errors.New("the deadline has passed")

// exitKinds maps kinds of errors to exit codes. The first matching row decides, so the order
// matters if an error is of several kinds or joins several errors. Usage errors come first,
// because they may wrap an error of another kind, for example of a missing --cacert file.
// The other rows follow exitPriority, so that the worst of several failures counts.
var exitKinds = []struct {
	kind error
	code int
}{
	{failure.ErrUsage, 2},
	{store.ErrNotFound, 2},
	{failure.ErrChecksum, 32},
	{errNoGpgv, 1},          // says nothing about the signature
	{&signatureError{}, 32}, // not nil, because the errors of some libraries ask a kind for its text
	{store.ErrNoSpace, 9},
	{syscall.ENOSPC, 9},
	{syscall.EDQUOT, 9},
	{store.ErrBusy, 3},
	{store.ErrGone, 3},
	{store.ErrNoDirectory, 3},
	{store.ErrCannotRepair, 3},
	{store.ErrState, 3}, // exitCode treats errors of the file system like this row
	{failure.ErrChanged, 17},
	{store.ErrForeign, 13},
	{failure.ErrClaimed, 13},
	{store.ErrNotOurs, 3},
	{failure.ErrAuth, 6},
	{failure.ErrRefused, 8},
	{failure.ErrProtocol, 7},
	{failure.ErrTLS, 5},
	{failure.ErrNetwork, 4},
	{failure.ErrThrottled, 75},
	{errDeadline, 75},
	{lockedError{}, 75},
	{&fleet.CancelledError{}, 75},
	{&fleet.HeldError{}, 75},
	{errNotEnded, 75},
	{listError{}, 2},
	{fleet.ErrNoRun, 2},
	{fleet.ErrOtherTarget, 2},
}

// exitPriority lists the exit codes from the worst to the mildest. A run with several
// failures ends with the first of their codes in this list.
var exitPriority = []int{143, 130, 129, 32, 9, 3, 17, 13, 6, 8, 7, 5, 4, 2, 1, 75}

// worstCode returns the worst exit code with a count above 0, or 0 if there is none. The
// keys of counts are exit codes.
func worstCode(counts map[int]int) int {
	for _, code := range exitPriority {
		if counts[code] > 0 {
			return code
		}
	}
	return 0
}

// An exitCodeError is an exit code whose failures have been reported one by one.
type exitCodeError int

func (e exitCodeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitCode returns the exit code of err: 0 for nil, 128 plus the number of a signal, an
// exitCodeError as it is, else the first match in exitKinds, else 1.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if s, ok := asSignal(err); ok {
		return 128 + int(s.Signal)
	}
	var code exitCodeError
	if errors.As(err, &code) {
		return int(code)
	}
	for _, k := range exitKinds {
		if errors.Is(err, k.kind) {
			return k.code
		}
		if k.kind == store.ErrState && isFileError(err) {
			return k.code
		}
	}
	return 1
}

// isFileError reports whether err comes from the file system.
func isFileError(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}

// A hintSubject is an error for which a hint is wanted.
type hintSubject struct {
	err   error
	id    store.ID // of the unfinished download that err is about; "" if nothing of it is kept
	begun []string // options of credentials that the download was begun with, as in store.Record.Credentials
	given []string // such options of this run
}

// A condition decides whether a hint fits a failure.
type condition func(hintSubject) bool

// is returns the condition that the error is of one of the kinds (errors.Is).
func is(kinds ...error) condition {
	return func(f hintSubject) bool {
		return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(f.err, kind) })
	}
}

// as returns the condition that the error has the type E (errors.As).
func as[E error]() condition {
	return func(f hintSubject) bool {
		var e E
		return errors.As(f.err, &e)
	}
}

// refusesSecret is the condition that the daemon does not accept the secret of the state directory.
func refusesSecret(f hintSubject) bool {
	var answer *server.Error
	return errors.As(f.err, &answer) && answer.Status == http.StatusUnauthorized
}

// both returns the condition that a and b hold.
func both(a, b condition) condition { return func(f hintSubject) bool { return a(f) && b(f) } }

// either returns the condition that a or b holds.
func either(a, b condition) condition { return func(f hintSubject) bool { return a(f) || b(f) } }

// isKept reports whether pawl resume can continue the download.
func isKept(f hintSubject) bool { return f.id != "" }

// isLost reports whether nothing of the download is kept.
func isLost(f hintSubject) bool { return f.id == "" }

// lacksCredentials reports whether an earlier run of the download had credentials that this one has not.
func lacksCredentials(f hintSubject) bool { return len(missing(f.begun, f.given)) > 0 }

// hasCredentials reports whether this run had credentials for the URL.
func hasCredentials(f hintSubject) bool { return len(f.given) > 0 }

// wantsForeignScheme reports whether the server accepts only a way to authenticate that pawl does not support.
func wantsForeignScheme(f hintSubject) bool {
	var status *failure.StatusError
	return errors.As(f.err, &status) && status.Scheme != ""
}

// isRedirected reports whether a redirect led to the server from another origin.
func isRedirected(f hintSubject) bool {
	var status *failure.StatusError
	return errors.As(f.err, &status) && status.Redirected
}

// gaveCertificate reports whether this run had a client certificate for the URL.
func gaveCertificate(f hintSubject) bool { return slices.Contains(f.given, certOption) }

// isForbidden reports whether the response was a 403.
func isForbidden(f hintSubject) bool {
	var status *failure.StatusError
	return errors.As(f.err, &status) && status.Code == http.StatusForbidden
}

// isDiskFull reports whether the disk or a quota is full.
func isDiskFull(f hintSubject) bool { return exitCode(f.err) == 9 }

// isLocalFile reports whether the file system caused the failure.
func isLocalFile(f hintSubject) bool { return isFileError(f.err) }

// isExpired reports whether a certificate is not valid now.
func isExpired(f hintSubject) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(f.err, &invalid) && invalid.Reason == x509.Expired
}

// isWeaklySigned reports whether a certificate is signed with an algorithm that proves nothing, such
// as SHA-1. crypto/x509 has no error value for it if it has looked for another signer in vain.
func isWeaklySigned(f hintSubject) bool {
	var weak x509.InsecureAlgorithmError
	return errors.As(f.err, &weak) || is(failure.ErrTLS)(f) && strings.Contains(f.err.Error(), "insecure algorithm")
}

// isServerError reports whether the response had a status from 500 on.
func isServerError(f hintSubject) bool {
	var status *failure.StatusError
	return errors.As(f.err, &status) && status.Code >= 500
}

// A hintRule is one row of a table of hints. An empty text means that there is no hint,
// and that no later row is asked.
type hintRule struct {
	applies condition
	text    string // with the placeholders of expand
}

// optionHints are the hints for failures that an option would allow. They come first even
// in the summary of a list, because they are more exact than a hint for the exit code.
var optionHints = []hintRule{
	{is(failure.ErrTooLarge), "allow it with --max-size N"},
	{is(failure.ErrMediaType), "check the URL, or log in, for example with --load-cookies FILE; without --expect, pawl takes any type"},
	{is(store.ErrLink), "remove the link or, if it is intended, follow it with: pawl mirror --follow-links"},
	{is(failure.ErrPrivate), "if you trust who names it, allow it with --allow-private"},
	{is(failure.ErrScheme), "allow it with --proto http,https"},
	{is(failure.ErrDowngrade), "give the digest of the file with --checksum, or in its list, or follow the redirect anyway with --allow-http"},
}

// lacksLogin applies if this run lacks credentials that an earlier one had, and the failure may be due to that.
var lacksLogin = both(lacksCredentials, is(failure.ErrAuth, failure.ErrRefused, failure.ErrPage, failure.ErrMediaType, failure.ErrWantsCert))

// loginHints are the hints for credentials that a server refuses.
var loginHints = []hintRule{
	{both(is(failure.ErrAuth), as[*failure.ProxyError]()), "check the user and the password of the proxy in --proxy, http_proxy, https_proxy or all_proxy, given as " + proxyHint},
	{both(is(failure.ErrRefused), as[*failure.ProxyError]()), "use another proxy, or none for this host, with --no-proxy HOST"},
	{wantsForeignScheme, "log in with a browser, and give its cookies with --load-cookies FILE"},
	{both(is(failure.ErrAuth), both(hasCredentials, isRedirected)), "credentials do not follow a redirect to another origin; if you trust it, give the URL that it leads to"},
	{both(is(failure.ErrAuth), hasCredentials), "check the user and the password, the token, or whether the cookies have expired: those of $GIVEN are not accepted"},
}

// listHints are the hints for a file of a list. A file that has none gets the one of its exit code.
var listHints = slices.Concat([]hintRule{
	{lacksLogin, "the file was downloaded with $MISSING: run the same command again with that, which must not have expired"},
}, loginHints, []hintRule{
	{both(either(is(failure.ErrPage), isForbidden), hasCredentials), "the credentials of $GIVEN may have expired: check them, or log in again, and run the same command with the new ones"},
	{is(failure.ErrPage), "log in, for example with --load-cookies FILE; the files downloaded before are unchanged"},
}, optionHints)

// hints are the hints for all failures. The first row that applies is used, so a special
// case must stand above the general one: an unreadable list above a usage error, a full
// disk above any other file error.
var hints = slices.Concat([]hintRule{
	{as[*settingError](), "$SETTING"},
	{as[spellingError](), "type: $COMMAND"},
	{as[queueError](), "$QUEUE"},
	{as[*mirror.LimitError](), "if the lists are right, allow it with: --max-delete $DELETE"},
	{is(mirror.ErrUndeleted), "check their directories, then run the same command again"},
	{as[*mirror.EndedError](), ""}, // the summary has the hint
	{either(as[listTooLargeError](), is(list.ErrTooLong)), "allow it with --max-list-size N"},
	{both(lacksLogin, isKept), "the download was begun with $MISSING; the downloaded part is kept; resume with: pawl resume $ID"},
	{lacksLogin, "the file was downloaded with $MISSING: run the same command again with that, which must not have expired"},
}, optionHints, []hintRule{
	{as[emptyListError](), "if that is intended, allow it with --allow-empty"},
	{as[*notListError](), "$NOTLIST"},
	{as[*signatureError](), "$SIGNATURE"},
	{as[listError](), "a list is a file, a URL, or - for standard input"},
	{both(as[*outputError](), isDiskFull), "free some space, or choose a file on another disk"},
	{as[*outputError](), "choose another file"},
	{is(credentials.ErrNoCookies), "export the cookies of your browser as cookies.txt, for example with an extension"},
	{is(errNoTerminal), "give it as -u USER:PASS, in PAWL_USER, or in a netrc file"},
	{as[shareError](), "allow at least one for each shard, or give each shard whole hosts, with all of the limit, by --shard-by host"},
	{as[importError](), "name an aria2.conf, .curlrc or .wgetrc, or - for standard input"},
	{as[mergeError](), "give one report of each shard of the same run; a shard without a report must run again"},
	{as[*dropin.RefusedError](), "see: pawl help as"},
	{is(failure.ErrUsage), "see: pawl --help"},
	{is(store.ErrNotFound), "see all downloads with: pawl list --all"},
	{as[*workerLockedError](), "one worker uses a machine well (--jobs); a second one needs a state directory of its own: --state DIR"},
	{as[lockedError](), "wait for it to end, or stop it"},
	{as[*fleet.HeldError](), "see what it does with: pawl queue status; get its report with: pawl queue report RUN --report FILE --wait; or stop it, and run the same command again"},
	{as[*fleet.CancelledError](), "the same command begins another run, which only requests missing files"},
	{is(fleet.ErrNoRun), "see all runs with: pawl queue status"},
	{is(fleet.ErrOtherTarget), "use the same --shared or --local and the same directory, or cancel the run first: pawl queue cancel RUN"},
	{is(errNotEnded), "wait for them with --wait"},
	{as[*daemonError](), "use it, with: pawl add URL, pawl list, pawl daemon --open; end it with: pawl daemon --stop; or start another one with --state DIR"},
	{refusesSecret, "was the file daemon-secret in the state directory changed? restart the daemon, so that it reads it again"},
	{is(server.ErrNotRunning), "start it with: pawl daemon; or download without it: pawl URL"},
	{is(store.ErrBusy), "see it with: pawl list"},

	// The state directory, part files and target files.
	{is(store.ErrCannotRepair), "download it anew: pawl -o FILE URL"},
	{is(store.ErrNewer), "use the newer pawl, or another state directory with --state DIR"},
	{is(store.ErrNoDirectory), "is its disk mounted? if the directory was moved, continue there with: pawl resume DIR; otherwise create it to start over, or forget the download with: pawl remove $ID"},
	{is(store.ErrGone), "run the same command again"},
	{is(store.ErrCannotTruncate), "delete that file, then run the same command again"},
	{both(is(store.ErrState), is(store.ErrNotOurs)), "use another state directory with --state DIR or, if nobody has tampered with this one, make it yours with chown and chmod go-w"},
	{is(store.ErrNotOurs), "if nobody has tampered with it, make it yours alone with chown and chmod go-rwx; otherwise choose another name with -o FILE, or another directory with -d DIR"},
	{both(is(store.ErrState), isDiskFull), "free some space, or use another state directory with --state DIR"},
	{is(store.ErrState), "use another state directory with --state DIR"},
	{is(store.ErrIrregular), "choose another name with -o FILE, or another directory with -d DIR"},
	{both(is(store.ErrForeign), is(failure.ErrChecksum)), "check the URL; the file was not touched"},
	{as[*downloader.PartialError](), "if it is a part of the same file, which another program has left, continue it with -c; otherwise choose another name with -o FILE"},
	{is(store.ErrForeign), "choose another name with -o FILE, or replace the file with --overwrite"},
	{as[*downloader.ClaimedError](), "choose another name with -o FILE or -d DIR; if the same file has moved to a new URL: pawl resume --url URL $CLAIMED"},

	// The content of the file.
	{is(failure.ErrServerDigest), "if only the server's field is wrong, download the file without it: --ignore-server-digest"},
	{is(failure.ErrOtherFile), "check the digest; the downloaded bytes were discarded"},
	{is(failure.ErrChecksum), ""},
	{both(is(failure.ErrChanged), isKept), "the downloaded part is kept; start over with --restart, or use another URL with: pawl resume --url URL $ID"},

	// Credentials and TLS.
}, loginHints, []hintRule{
	{is(failure.ErrAuth), "log in with -u USER, with --bearer-file FILE, or with the cookies of a browser in --load-cookies FILE"},
	{is(http.ErrSchemeMismatch), "try http:// instead of https://"},
	{is(failure.ErrNotTLS), "check the port in the URL"},
	{is(failure.ErrSpeaksTLS), "try https:// instead of http://"},
	{is(failure.ErrOutdated), "if the server is an old one, accept outdated TLS with --tls-legacy"},
	{both(is(failure.ErrWantsCert), gaveCertificate), "the certificate does not follow a redirect to another origin; if you trust it, give the URL that it leads to"},
	{is(failure.ErrWantsCert), "give one with --cert FILE --key FILE"},
	{is(failure.ErrRefusesCert), "check the certificate in --cert FILE: its issuer, and when it expires"},
	{as[x509.HostnameError](), "use a host name of the certificate, or skip verification with --insecure"},
	{isExpired, "check the clock of this machine, or skip verification with --insecure"},
	{isWeaklySigned, "skip verification with --insecure"},
	{as[*tls.CertificateVerificationError](), "trust a certificate with --cacert FILE, or skip verification with --insecure"},

	// The disk and the limits of the system.
	{is(syscall.EFBIG), "raise the limit of file sizes (ulimit -f), or choose another directory with -d DIR"},
	{is(fs.ErrPermission, syscall.EROFS, syscall.ENAMETOOLONG, syscall.ENOTDIR), "choose another directory with -d DIR, or another name with -o FILE"},
	{is(syscall.EMFILE, syscall.ENFILE), "allow more open files (ulimit -n), or use fewer connections with -x"},
	{both(isDiskFull, isKept), "free some space, then resume with: pawl resume $ID"},
	{isDiskFull, "free some space, or choose another directory with -d DIR"},
	{both(isLocalFile, isLost), "run the same command again, or choose another directory with -d DIR"},

	// The server and the network.
	{both(is(failure.ErrPage), isKept), "the downloaded part is kept; log in, for example with --load-cookies FILE: pawl resume $ID"},
	{is(failure.ErrPage), "log in, for example with --load-cookies FILE; the file downloaded before is unchanged"},
	{both(either(is(failure.ErrThrottled), isServerError), isKept), "the downloaded part is kept; resume later with: pawl resume $ID"},
	{either(is(failure.ErrThrottled), isServerError), "run the same command again later"},
	{both(is(failure.ErrRefused), isKept), "$AGAIN; or from another URL, with --url URL"},
	{both(isForbidden, isLost), "check the URL; if it needs a login, give it with -u USER, --bearer-file FILE or --load-cookies FILE"},
	{is(failure.ErrRefused), "check the URL"},
	{both(is(failure.ErrProtocol), isLost), "check the URL"},
	{is(failure.ErrTrickle), "$AGAIN; accept a lower rate with --min-rate RATE:D"},
	{is(failure.ErrSilent), "$AGAIN; if the server is only slow, give it more time with --stall-timeout 5m"},
	{either(is(failure.ErrNetwork), isKept), "$AGAIN"},
})

// hint returns the advice that the user can follow next, or "" if there is none. id is the
// unfinished download that err is about, or "" if nothing of it is kept.
func hint(err error, id store.ID) string { return hintSubject{err: err, id: id}.hint(hints) }

// hint returns the hint of the first rule that applies, or "" if none does.
func (f hintSubject) hint(rules []hintRule) string {
	for _, rule := range rules {
		if rule.applies(f) {
			return f.expand(rule.text)
		}
	}
	return ""
}

// expand replaces the placeholders of a hint: $ID, $CLAIMED (the download that owns the
// target), $DELETE (how many files would be deleted), $SETTING (the hint of a
// settingError), $COMMAND (of a spellingError), $QUEUE (of a queueError), $NOTLIST (of a notListError), $SIGNATURE (of
// a signatureError), $MISSING (the options of credentials that were given to an earlier run
// only), $GIVEN (those of this run) and $AGAIN (how to repeat the download). The command "pawl resume $ID" also gets the
// options that the download needs.
func (f hintSubject) expand(text string) string {
	again, resume := "run the same command again", resumeCommand(f.begun)+" "+string(f.id)
	if isKept(f) {
		again = "the downloaded part is kept; resume with: " + resume
	}
	values := []string{"pawl resume $ID", resume, "$ID", string(f.id), "$AGAIN", again, "$MISSING", joinWords(printableAll(missing(f.begun, f.given))), "$GIVEN", joinWords(printableAll(f.given))}
	var setting *settingError
	if errors.As(f.err, &setting) {
		values = append(values, "$SETTING", setting.hint)
	}
	var spelling spellingError
	if errors.As(f.err, &spelling) {
		values = append(values, "$COMMAND", spelling.command)
	}
	var queue queueError
	if errors.As(f.err, &queue) {
		values = append(values, "$QUEUE", queue.hint())
	}
	var notList *notListError
	if errors.As(f.err, &notList) {
		values = append(values, "$NOTLIST", notList.hint())
	}
	var signed *signatureError
	if errors.As(f.err, &signed) {
		values = append(values, "$SIGNATURE", signed.hint())
	}
	var limit *mirror.LimitError
	if errors.As(f.err, &limit) {
		values = append(values, "$DELETE", strconv.Itoa(limit.Delete))
	}
	var claimed *downloader.ClaimedError
	if errors.As(f.err, &claimed) {
		values = append(values, "$CLAIMED", string(claimed.Record.ID))
	}
	return strings.NewReplacer(values...).Replace(text)
}

// resumeCommand returns the command that resumes downloads, with the options of credentials that they need.
// A netrc file in its usual place is no option.
func resumeCommand(needed []string) string {
	command := "pawl resume"
	for _, o := range printableAll(needed) {
		if strings.HasPrefix(o, "-") {
			command += " " + o
		}
	}
	return command
}

// printableAll returns texts that a terminal can show.
func printableAll(texts []string) (all []string) {
	for _, t := range texts {
		all = append(all, printable(t))
	}
	return all
}
