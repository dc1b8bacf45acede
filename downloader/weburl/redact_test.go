package weburl

import "testing"

// Redact hides passwords and the values of secret parameters from messages. WithoutUser, for
// records, hides only user and password.
func TestRedact(t *testing.T) {
	for _, tt := range []struct{ url, redacted, recorded string }{ // "" means unchanged
		{"http://h/f?a=b", "", ""},
		{"http://u:p@h/f", "http://h/f", "http://h/f"},
		{"http://h/f?X-Amz-Date=1&X-Amz-Signature=abc%2F&x=y", "http://h/f?X-Amz-Date=1&X-Amz-Signature=…&x=y", ""},
		{"http://h/f?X-Amz-Credential=a/b/c&X-Amz-Security-Token=d==", "http://h/f?X-Amz-Credential=…&X-Amz-Security-Token=…", ""},
		{"http://h/f?sig=abc", "http://h/f?sig=…", ""},
		{"http://h/f?%73ig=abc", "http://h/f?%73ig=…", ""},
		{"http://h/f?access_token=abc;b=c", "http://h/f?access_token=…;b=c", ""},
		{"http://h/f?Policy=a&Signature=b&Key-Pair-Id=c", "http://h/f?Policy=…&Signature=…&Key-Pair-Id=…", ""},
		{"http://h/f?to=http%3A%2F%2Fg%2F%3Ftoken%3Dabc&x=%20", "http://h/f?to=…&x=%20", ""},
		{"http://h/f?a?token=abc#b", "http://h/f?a?token=…#b", ""},
		{"http://u:p@h/f?token=", "http://h/f?token=", "http://h/f?token="},
		{"u:p@h?token=abc", "h?token=…", "h?token=abc"},
	} {
		if tt.recorded == "" {
			tt.recorded = tt.url
		}
		if tt.redacted == "" {
			tt.redacted = tt.url
		}
		if got := Redact(tt.url); got != tt.redacted {
			t.Errorf("Redact(%q): got %q, want %q", tt.url, got, tt.redacted)
		}
		if got := WithoutUser(tt.url); got != tt.recorded {
			t.Errorf("WithoutUser(%q): got %q, want %q", tt.url, got, tt.recorded)
		}
	}
	for text, want := range map[string]string{
		`Get "http://u:p@h/f?sig=ab\"c": EOF`:              `Get "http://h/f?sig=…": EOF`,
		`list http://h/l?key=abc:3: no`:                    `list http://h/l?key=… no`,
		`a@b, token=abc is no parameter`:                   `a@b, token=abc is no parameter`,
		`two: http://h/?token=a and http://h/?b=c&token=d`: `two: http://h/?token=… and http://h/?b=c&token=…`,
	} {
		if got := RedactText(text); got != want {
			t.Errorf("RedactText(%q): got %q, want %q", text, got, want)
		}
	}
}

// URLs most likely lead to the same file if only their hosts and signatures differ.
func TestSamePath(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"http://h/f", "http://h/f", true},
		{"http://h/f?sig=1", "http://h/f?sig=2", true},
		{"http://h/f?sig=1", "http://h/f", true},
		{"http://h/f?X-Amz-Date=1&X-Amz-Signature=2&X-Amz-Credential=3", "http://h/f?X-Amz-Signature=4&X-Amz-Credential=5&X-Amz-Date=6", true},
		{"http://h/f?AWSAccessKeyId=a&Expires=1&Signature=b", "http://h/f?AWSAccessKeyId=a&Expires=2&Signature=c", true},
		{"http://h/f?sv=1&se=2&sig=3&v=1", "http://h/f?sv=4&se=5&sig=6&v=1", true},
		{"http://h/f?sv=1&se=2&sig=3&v=1", "http://h/f?sv=1&se=2&sig=3&v=2", false},
		{"http://h/f?key=a&token=1", "http://h/f?key=b&token=1", false},
		{"http://h/f?id=1", "http://h/f?id=2", false},
		{"http://h/f?update=1", "http://h/f?update=2", false},
		{"http://h/f", "https://g:1/f?sig=1", true},
		{"http://h/f", "http://h/g", false},
	} {
		if got := SamePath(tt.a, tt.b); got != tt.same {
			t.Errorf("%s and %s: got %t, want %t", tt.a, tt.b, got, tt.same)
		}
	}
}
