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
