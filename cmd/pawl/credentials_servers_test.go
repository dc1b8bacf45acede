package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pawl/downloader/faultserver"
)

// passwords are files of users for the servers, which all know the user "u" with the password "p".
var passwords = map[string]string{
	"htpasswd": "u:$1$pawl$oM9wuThWr4Wo672eSBsqv0\n",
	"htdigest": "u:a realm:3743b9e6172a24ec4a40628822fa104c\n",
	"htsha256": "u:a realm:f72c4c711e52278769f409054bc130a653a54a39a685b242fbcf8d2d32e1ef28\n",
}

// nginxHead begins a config of nginx with one server.
const nginxHead = `
daemon off; master_process off; pid DIR/pid; error_log DIR/error.log;
events {}
http { access_log off; client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
uwsgi_temp_path DIR/u; scgi_temp_path DIR/s; server { root ROOT; `

var nginxArgs = []string{"-p", "DIR", "-e", "DIR/error.log", "-c", "DIR/conf"}

// authServers want a user and a password.
var authServers = []realServer{
	{"nginx, basic", "nginx", nginxHead + `listen ADDR; auth_basic "a realm"; auth_basic_user_file DIR/htpasswd; } }`, nginxArgs},
	{"lighttpd, digest with MD5", "lighttpd", lighttpdDigest("MD5", "htdigest"), []string{"-D", "-f", "DIR/conf"}},
	{"lighttpd, digest with SHA-256", "lighttpd", lighttpdDigest("SHA-256", "htsha256"), []string{"-D", "-f", "DIR/conf"}},
	{"apache2, digest", "apache2", `
ServerRoot DIR
ServerName localhost
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authn_file_module /usr/lib/apache2/modules/mod_authn_file.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule auth_digest_module /usr/lib/apache2/modules/mod_auth_digest.so
Listen ADDR
PidFile DIR/pid
ErrorLog DIR/error.log
DefaultRuntimeDir DIR
DocumentRoot ROOT
User www-data
Group www-data
<Directory ROOT>
AuthType Digest
AuthName "a realm"
AuthUserFile DIR/htdigest
AuthDigestNonceLifetime 1
Require valid-user
</Directory>`, []string{"-f", "DIR/conf", "-DFOREGROUND"}},
}

func lighttpdDigest(algorithm, users string) string {
	return `
server.modules += ("mod_auth", "mod_authn_file")
server.document-root = "ROOT"
server.bind = "127.0.0.1"
server.port = PORT
server.errorlog = "DIR/error.log"
auth.backend = "htdigest"
auth.backend.htdigest.userfile = "DIR/` + users + `"
auth.require = ("/" => ("method" => "digest", "algorithm" => "` + algorithm + `", "realm" => "a realm", "require" => "valid-user"))`
}

// newAuthDir returns a directory with the files of users.
func newAuthDir(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	for name, text := range passwords {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRealLogins downloads from servers that want a user and a password: over several connections,
// after an interruption, and with a wrong password.
func TestRealLogins(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	skipUnderRace(t)
	f := faultserver.NewFile(12<<20+123, 1)
	for _, s := range sample(4, authServers) {
		t.Run(s.name, func(t *testing.T) {
			dir, root := newAuthDir(t), publicDir(t)
			writeFile(t, filepath.Join(root, "a.bin"), f)
			writeFile(t, filepath.Join(root, "one.bin"), faultserver.NewFile(1, 2))
			u := s.start(t, dir, root)
			pawlOK(t, dir, "-q", "-u", "u:p", u+"/a.bin", u+"/one.bin")
			checkFile(t, filepath.Join(dir, "a.bin"), f)
			if err := os.WriteFile(filepath.Join(dir, "n"), []byte("machine 127.0.0.1 login u password p"), 0o600); err != nil {
				t.Fatal(err)
			}
			pawlOK(t, dir, "-q", "--netrc-file", "n", "-o", "c.bin", u+"/a.bin")
			checkFile(t, filepath.Join(dir, "c.bin"), f)
			interrupted := pawlCommand(dir, "-q", "--no-netrc", "-u", "u:p", "--limit-rate", "2M", "-o", "b.bin", u+"/a.bin")
			if err := interrupted.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				info, err := os.Stat(filepath.Join(dir, "b.bin.part"))
				return err == nil && info.Size() > 1<<20
			})
			interrupted.Process.Signal(syscall.SIGINT)
			interrupted.Wait()
			out, err := pawlCommand(dir, "resume", "--no-netrc").CombinedOutput()
			if exitCodeOf(err) != 6 || !strings.Contains(string(out), "the download was begun with -u USER;") {
				t.Errorf("resumed without -u: %v, want exit code 6\n%s", err, out)
			}
			if out := pawlOK(t, dir, "resume", "-u", "u:p"); !strings.Contains(out, "resuming at") {
				t.Errorf("resume started from the beginning: %s", out)
			}
			checkFile(t, filepath.Join(dir, "b.bin"), f)
			for _, login := range []string{"u:x", "x:p"} {
				out, err := pawlCommand(dir, "-u", login, "-o", "d.bin", u+"/a.bin").CombinedOutput()
				if exitCodeOf(err) != 6 || !strings.Contains(string(out), "check the user and the password") {
					t.Errorf("%s: %v, want exit code 6\n%s", login, err, out)
				}
			}
		})
	}
}

// TestRealClientCertificate downloads from nginx, which wants a client certificate.
func TestRealClientCertificate(t *testing.T) {
	dir, root := publicDir(t), publicDir(t)
	tr := &testRun{T: t, dir: dir}
	f := faultserver.NewFile(9<<20, 1)
	writeFile(t, filepath.Join(root, "a.bin"), f)
	tr.makeCertificate("server", newECKey(tr), "PRIVATE KEY")
	tr.makeCertificate("cert", newECKey(tr), "EC PRIVATE KEY")
	tr.makeCertificate("other", newECKey(tr), "PRIVATE KEY")
	s := realServer{"nginx, client certificates", "nginx", nginxHead + `listen ADDR ssl http2; ssl_certificate DIR/server.pem; ssl_certificate_key DIR/server-key.pem;
ssl_client_certificate DIR/cert.pem; ssl_verify_client on; } }`, nginxArgs}
	u := strings.Replace(s.start(t, dir, root), "http://", "https://", 1) + "/a.bin"
	pawlOK(t, dir, "-q", "--insecure", "--cert", "cert.pem", "--key", "cert-key.pem", u)
	checkFile(t, filepath.Join(dir, "a.bin"), f)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "give one with --cert FILE --key FILE"},
		{[]string{"--cert", "other.pem", "--key", "other-key.pem"}, "the server does not accept the client certificate"},
	} {
		out, err := pawlCommand(dir, append(tt.args, "--insecure", "-o", "b.bin", u)...).CombinedOutput()
		if exitCodeOf(err) != 5 || !strings.Contains(string(out), tt.want) {
			t.Errorf("%q: %v, want exit code 5 and %q\n%s", tt.args, err, tt.want, out)
		}
	}
}
