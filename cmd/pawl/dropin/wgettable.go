package dropin

// wgetVersion is the version of wget whose options wgetOptions has, with the common ones of wget2.
const wgetVersion = "1.25.0"

// wgetTable returns the options of wget and wget2. The letter n begins the pairs -nc, -nd, -nH, -np and -nv.
func wgetTable() table {
	return table{negates: true, switches: true, abbreviates: true, all: optionsOf(wgetOptions...)}
}

// wgetOptions has the booleans of wget by their positive names: --no-check-certificate switches check-certificate off.
// The names that end in -command, and no-proxy-hosts, are commands of .wgetrc without an option.
var wgetOptions = []group{
	{translate, "", `V/version h/help n/= e/execute= config= no-config! q/quiet v/verbose o/output-file= a/append-output= d/debug show-progress
		i/input-file= B/base= t/tries= O/output-document= clobber no-clobber-command c/continue N/timestamping use-server-timestamps S/server-response spider
		T/timeout= connect-timeout= read-timeout= waitretry= proxy limit-rate= 4/inet4-only 6/inet6-only bind-address=
		user= password= http-user= http-password= http-passwd= ask-password netrc netrc-file= proxy-user= proxy-password= proxy-passwd= http-proxy= https-proxy= http-proxy-user= http-proxy-password= no-proxy-hosts=
		P/directory-prefix= x/force-directories directories host-directories protocol-directories cut-dirs= default-page= content-disposition
		cache header= referer= U/user-agent= load-cookies= method= secure-protocol= https-only check-certificate check-hostname certificate= certificate-type= private-key= private-key-type= ca-certificate=`},

	{ignore, "pawl decides itself how it connects", `retry-connrefused retry-on-host-error retry-on-http-error= dns-timeout= dns-cache dns-caching prefer-family= if-modified-since ignore-length http-keep-alive max-redirect=
		auth-no-challenge compression= chunk-size= max-threads= http2 http2-only http2-request-window= tcp-fastopen tls-false-start tls-resume tls-session-file= ocsp ocsp-file= ocsp-stapling ocsp-date ocsp-nonce ocsp-server=
		hpkp hpkp-file= default-http-port= default-https-port= egd-file= random-file= cookie-suffixes= dane download-attr=`},
	{ignore, "pawl retries at intervals that grow", "random-wait"},
	{ignore, "it changes only what wget prints", "report-speed= progress= dot-style= force-progress rejected-log= stats-all[=] stats-dns[=] stats-ocsp[=] stats-server[=] stats-site[=] stats-tls[=] bell"},
	{ignore, "pawl keeps cookies in memory only", "cookies keep-session-cookies"},
	{ignore, "pawl remembers HSTS for no later run", "hsts hsts-file="},
	{ignore, "pawl takes names and URLs as they are", "iri local-encoding= remote-encoding= input-encoding= restrict-file-names= E/adjust-extension html-extension unlink fsync-policy metalink metalink-over-http metalink-index= preferred-location= keep-badhash preserve-permissions"},
	{ignore, "it concerns FTP only", "ftp-user= ftp-password= remove-listing glob passive-ftp retr-symlinks follow-ftp ftps-implicit ftps-resume-ssl ftps-clear-data-connection ftps-fallback-to-ftp ftp-proxy= dont-remove-listing htmlify ftp-stmlf"},
	{ignore, "it matters only if links are followed, which pawl as wget refuses", `l/level= strict-comments A/accept= R/reject= accept-regex= reject-regex= regex-type= D/domains= exclude-domains=
		follow-tags= ignore-tags= H/span-hosts L/relative I/include-directories= X/exclude-directories= parent no-parent-command ignore-case robots filter-mime-type= filter-urls follow-sitemaps
		cut-url-get-vars cut-file-get-vars convert-file-only K/backup-converted`},

	{drop, "pawl names a file by the URL that is given", "trust-server-names"},
	{drop, "pawl downloads without pauses; see --max-request-rate", "w/wait="},
	{drop, "pawl keeps cookies in memory only", "save-cookies="},
	{drop, "pawl sets no extended attributes", "xattr"},
	{drop, "pawl has no limit for all files together; see --max-size", "Q/quota="},

	{refuse, "pawl as wget follows no links; for a directory of a server: pawl mirror URL/ --depth N", "r/recursive m/mirror p/page-requisites k/convert-links F/force-html force-css force-sitemap force-atom force-rss force-metalink"},
	{refuse, "see: pawl mirror FILE", "input-metalink="},
	{refuse, "pawl as wget stays in the foreground; let the shell put it into the background", "b/background"},
	{refuse, "pawl only downloads, and sends no data", "post-data= post-file= body-data= body-file="},
	{refuse, "pawl downloads whole files", "start-pos="},
	{refuse, "pawl writes the file and nothing else", "save-headers content-on-error delete-after local-db plugin= plugin-dirs= plugin-opt= plugin-help list-plugins local-plugin="},
	{refuse, "pawl replaces files, or numbers them", "backups[=]"},
	{refuse, "pawl asks for passwords on the terminal only", "use-askpass="},
	{refuse, "pawl cannot restrict TLS like that", "ca-directory= crl-file= pinnedpubkey= ciphers= gnutls-options= https-enforce="},
	{refuse, "pawl verifies signatures of checksum files: see --signature", "s/verify-sig[=] signature-extensions= gnupg-homedir= verify-save-failed"},
	{refuse, "pawl asks the name servers of the system", "dns-servers= bind-dns-address="},
	{refuse, "pawl writes no WARC files", "warc-file= warc-header= warc-max-size= warc-cdx warc-dedup= warc-compression warc-digests warc-keep-log warc-tempdir="},
}
