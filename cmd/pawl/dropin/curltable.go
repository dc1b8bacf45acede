package dropin

// curlVersion is the version of curl whose options curlOptions has, with those that older versions had.
const curlVersion = "8.14.1"

func curlTable() table {
	return table{negates: true, abbreviates: true, all: optionsOf(curlOptions...)}
}

var curlOptions = []group{
	{translate, "", `K/config= q/disable o/output= O/remote-name remote-name-all output-dir= J/remote-header-name url= url-query=
		C/continue-at= clobber skip-existing R/remote-time f/fail fail-with-body fail-early L/location
		s/silent S/show-error progress-meter v/verbose V/version! h/help[=] M/manual!
		H/header= A/user-agent= e/referer= b/cookie= u/user= oauth2-bearer= n/netrc netrc-file= netrc-optional
		d/data= data-ascii= data-binary= data-raw= data-urlencode= G/get X/request= z/time-cond= w/write-out= D/dump-header=
		x/proxy= U/proxy-user= noproxy= socks5= socks5-hostname=
		connect-timeout= m/max-time= retry= retry-delay= Y/speed-limit= y/speed-time= limit-rate= rate= max-filesize=
		k/insecure cacert= E/cert= cert-type= key= key-type= proto= proto-redir= proto-default= tls-max=
		4/ipv4 6/ipv6 interface= resolve= g/globoff`},

	{ignore, "pawl creates directories that are missing", "create-dirs ftp-create-dirs"},
	{ignore, "pawl decides itself how it connects", `0/http1.0 http1.1 http2 http2-prior-knowledge http3 http3-only http0.9 alpn npn sessionid keepalive
		keepalive-time= keepalive-cnt= tcp-nodelay tcp-fastopen happy-eyeballs-timeout-ms= mptcp alt-svc= expect100-timeout= false-start tls-earlydata
		path-as-is tr-encoding raw ip-tos= vlan-priority= max-redirs= post301 post302 post303 suppress-connect-headers p/proxytunnel proxy-http2
		ca-native proxy-ca-native random-file= egd-file= engine= compressed ignore-content-length`},
	{ignore, "pawl accepts TLS 1.2 and newer", "1/tlsv1 tlsv1.0 tlsv1.1 tlsv1.2 ssl ssl-reqd ssl-allow-beast ssl-no-revoke ssl-revoke-best-effort ssl-auto-client-cert proxy-tlsv1 proxy-ssl-allow-beast proxy-ssl-auto-client-cert"},
	{ignore, "pawl uses several connections for each file, and downloads the files of curl one after another", "Z/parallel parallel-immediate parallel-max= parallel-max-host="},
	{ignore, "pawl retries whatever may pass", "retry-all-errors retry-connrefused retry-max-time="},
	{ignore, "pawl finds out how a server wants the user and the password", "basic digest anyauth proxy-basic proxy-digest proxy-anyauth disallow-username-in-url socks5-basic"},
	{ignore, "it changes only what curl prints", "#/progress-bar N/buffer styled-output trace-time trace-ids"},
	{ignore, "it concerns uploads only", "a/append crlf form-escape"},
	{ignore, "cookies of a session end with it", "j/junk-session-cookies"},
	{ignore, "pawl keeps unfinished files under another name", "remove-on-error"},
	{ignore, "pawl remembers HSTS for no later run", "hsts="},
	{ignore, "it concerns other protocols than HTTP only", `disable-eprt disable-epsv ftp-account= ftp-alternative-to-user= ftp-method= ftp-pasv P/ftp-port= ftp-pret
		ftp-skip-pasv-ip ftp-ssl-ccc ftp-ssl-ccc-mode= ftp-ssl-control krb= compressed-ssh hostpubmd5= hostpubsha256= pubkey= sasl-authzid= sasl-ir
		tftp-blksize= tftp-no-options t/telnet-option= mail-auth= mail-from= mail-rcpt= mail-rcpt-allowfails login-options= B/use-ascii l/list-only Q/quote=`},

	{drop, "pawl keeps cookies in memory only", "c/cookie-jar="},
	{drop, "pawl remembers the ETag of each file itself", "etag-save= etag-compare="},
	{drop, "pawl writes no log", "trace= trace-ascii= trace-config= stderr="},
	{drop, "pawl sets the usual mode", "create-file-mode="},
	{drop, "pawl sets no extended attributes", "xattr"},
	{drop, "pawl lets the system choose the port", "local-port="},

	{refuse, "each part would be a command of its own; run pawl once for each", ":/next"},
	{refuse, "pawl only downloads, and sends no data", "F/form= form-string= json= T/upload-file= upload-flags="},
	{refuse, "pawl downloads whole files", "r/range="},
	{refuse, "pawl writes the file and nothing else; see: pawl info URL", "I/head i/include show-headers libcurl= metalink dump-ca-embed"},
	{refuse, "pawl asks the name servers of the system", "dns-interface= dns-ipv4-addr= dns-ipv6-addr= dns-servers= doh-url= doh-insecure doh-cert-status ech="},
	{refuse, "pawl connects to the host in the URL; see --resolve", "connect-to= unix-socket= abstract-unix-socket= request-target= haproxy-protocol haproxy-clientip= ipfs-gateway= preproxy="},
	{refuse, "pawl sends credentials to no host but that of the URL", "location-trusted"},
	{refuse, "pawl has user and password (basic, digest), bearer tokens and client certificates only", `ntlm ntlm-wb negotiate aws-sigv4= delegation= service-name=
		proxy-negotiate proxy-ntlm proxy-service-name= socks5-gssapi socks5-gssapi-nec socks5-gssapi-service= tlsuser= tlspassword= tlsauthtype=
		proxy-tlsuser= proxy-tlspassword= proxy-tlsauthtype= sigalgs= pass=`},
	{refuse, "pawl has only proxies of http, https, socks5 and socks5h", "socks4= socks4a= proxy1.0="},
	{refuse, "pawl has one set of certificates, and one header, for servers and proxies", `proxy-cacert= proxy-capath= proxy-cert= proxy-cert-type= proxy-ciphers= proxy-crlfile=
		proxy-header= proxy-insecure proxy-key= proxy-key-type= proxy-pass= proxy-pinnedpubkey= proxy-tls13-ciphers=`},
	{refuse, "pawl cannot restrict TLS like that", "2/sslv2 3/sslv3 tlsv1.3 ciphers= tls13-ciphers= curves= capath= crlfile= cert-status pinnedpubkey= ssl-sessions="},
	{refuse, "curl's variables are not read", "variable= expand-url="},
}
