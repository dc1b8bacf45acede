package credentials

import (
	"strings"
	"testing"
)

// TestNetrc compares logins with the ones that curl, wget and aria2 find in the same files, or with
// the right one if these differ. The login is "none", or user:password.
func TestNetrc(t *testing.T) {
	const host = "localhost"
	for _, test := range []struct{ name, text, user, want string }{
		{"one line", "machine localhost login u password p", "", "u:p"},
		{"several lines, comments", "# a\nmachine localhost # b\n\tlogin u\n#login x\n\tpassword p\n", "", "u:p"},
		{"CRLF", "machine localhost\r\nlogin u\r\npassword p\r\n", "", "u:p"},
		{"a mark at the beginning", "\ufeffmachine localhost login u password p", "", "u:p"},
		{"account", "machine localhost login u account a password p", "", "u:p"},
		{"password first", "machine localhost password p login u", "", "u:p"},
		{"# in a word", "machine localhost login u password p#x", "", "u:p#x"},
		{"# before a word", "machine localhost login u password #x", "", "u:#x"},
		{"quotation marks", `machine localhost login u password "p q"`, "", "u:p q"},
		{"escapes", `machine localhost login "u" password "a\"b\\c\td"`, "", "u:a\"b\\c\td"},
		{"an empty password", `machine localhost login u password ""`, "", "u:"},
		{"a backslash outside of quotation marks", `machine localhost login u password a\b`, "", `u:a\b`},
		{"default", "machine other login x password y\ndefault login u password p", "", "u:p"},
		{"default first", "default login x password y\nmachine localhost login u password p", "", "u:p"},
		{"macdef with an entry in it", "machine localhost login u password p\nmacdef init\nmachine localhost login x password y\n\nmachine a login b password c", "", "u:p"},
		{"macdef first", "macdef init\nmachine localhost login x password y\n\nmachine localhost login u password p", "", "u:p"},
		{"macdef, CRLF", "macdef init\r\nmachine localhost login x password y\r\n\r\nmachine localhost login u password p", "", "u:p"},
		{"macdef at the end", "macdef init\nmachine localhost login x password y", "", "none"},
		{"two entries", "machine localhost login u password p\nmachine localhost login x password y", "", "u:p"},
		{"password only", "machine localhost password p", "", ":p"},
		{"login only", "machine localhost login u", "", "u:"},
		{"neither", "machine localhost\nmachine other login x password y", "", "none"},
		{"a port", "machine localhost:80 login x password y", "", "none"},
		{"another host", "machine localhost.example login x password y", "", "none"},
		{"capital letters", "machine LocalHost login u password p", "", "u:p"},
		{"unknown words", "machine localhost port 80 login u password p protocol http", "", "u:p"},
		{"words before a machine", "login x password y machine localhost login u password p", "", "u:p"},
		{"a keyword as password", "machine localhost login u password machine", "", "u:machine"},
		{"nothing", "", "", "none"},
		{"the user of the URL", "machine localhost login x password y\nmachine localhost login u password p", "u", "u:p"},
		{"the user of the URL, no login", "machine localhost password p", "u", "u:p"},
		{"the user of the URL, another login", "machine localhost login x password y", "u", "none"},
		{"the user of the URL, default", "machine localhost login x password y\ndefault login u password p", "u", "u:p"},
	} {
		n, err := ParseNetrc([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := "none"
		if login, password, ok := n.Find(host, test.user); ok {
			got = login + ":" + password
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestNetrcErrors checks that a file that was cut is an error with its line, and without its words.
func TestNetrcErrors(t *testing.T) {
	for text, line := range map[string]string{
		"machine localhost login u password p\nmachine":                  "line 2: \"machine\"",
		"machine localhost login s3cret\npassword":                       "line 2: \"password\"",
		"machine localhost login":                                        "line 1: \"login\"",
		"machine localhost login\nmachine other login s3cret password p": "line 1: \"login\"",
		"machine localhost\nlogin \"s3cret\npassword p":                  "line 2: a quotation mark",
		"machine localhost account":                                      "line 1: \"account\"",
		"macdef":                                                         "line 1: \"macdef\"",
	} {
		_, err := ParseNetrc([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), line) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want %s", text, err, line)
		}
	}
}

func TestNetrcIPv6(t *testing.T) {
	n, _ := ParseNetrc([]byte("machine ::1 login u password p"))
	if _, _, ok := n.Find("[::1]", ""); !ok {
		t.Error("the entry for ::1 was not found")
	}
}

// FuzzNetrc checks that any file is read without a panic, and that an entry behind it is found.
func FuzzNetrc(f *testing.F) {
	f.Add("machine a login b password \"c\\\"\" macdef x\n\n")
	f.Add("machine")
	f.Add("default # x\nlogin")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNetrc([]byte(text))
		n.Find("a", "")
		if err != nil {
			return
		}
		if n, err = ParseNetrc([]byte("machine first.example login u password p\n" + text)); err != nil {
			return // for example a mark in the middle
		}
		if login, password, ok := n.Find("first.example", ""); !ok || login == "" && password == "" {
			t.Errorf("the first entry was lost")
		}
	})
}
