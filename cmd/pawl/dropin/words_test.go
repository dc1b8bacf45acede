package dropin

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"  a  b\t", []string{"a", "b"}},
		{`a 'b c' "d e" f\ g`, []string{"a", "b c", "d e", "f g"}},
		{`a'b'"c"d`, []string{"abcd"}},
		{`'' ""`, []string{"", ""}},
		{`"a\"b\\c\$d\e"`, []string{`a"b\c$d\e`}},
		{`$'it\'s\n\t\x41\u00e9\101\cA\q'`, []string{"it's\n\tAéA\x01\\q"}},
		{`$"a b"`, []string{"a b"}},
		{"a \\\n  b \\\r\n  c\n", []string{"a", "b", "c"}},
		{"\n\n curl x\n", []string{"curl", "x"}},
		{"curl x # y 'z", []string{"curl", "x"}},
		{"curl http://h/#y", []string{"curl", "http://h/#y"}},
		{"curl http://h/?a=1&b=2 -o x", []string{"curl", "http://h/?a=1&b=2", "-o", "x"}},
		{"curl x;", []string{"curl", "x"}},
		{"curl x &", []string{"curl", "x"}},
		{`curl $x "$y"`, []string{"curl", "$x", "$y"}},
		// cmd.exe, as Chrome wrote it first
		{"curl \"http://h/?a=^%20b\" ^\r\n  -H \"x: \\\"y\\\"\" ^\r\n  --compressed", []string{"curl", "http://h/?a=^%20b", "-H", `x: "y"`, "--compressed"}},
		{`curl "http://h/?a="^%"20b"`, []string{"curl", "http://h/?a=%20b"}},
		// cmd.exe, as Chrome writes it now
		{"curl ^\"http://h/?a=1^&b=^%^20c^\" ^\n  -H ^\"x: ^\\^\"y^\\^\"^\" ^\n  -H ^\"z: a b^\"", []string{"curl", "http://h/?a=1&b=%20c", "-H", `x: "y"`, "-H", "z: a b"}},
		{`curl ^"a ^"^"b^"`, []string{"curl", `a "b`}},
		{`curl 'a^"b'`, []string{"curl", `a^"b`}},
		{`curl.exe "a\\" ^%b`, []string{"curl.exe", `a\`, "%b"}},
	} {
		if got, err := Words(tt.text); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Words(%q) = %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"'a", `"a`, `$'a`, "a; b", "a\nb", "a | b", "a && b", `^"a`, "a ^& b & c"} {
		if got, err := Words(text); err == nil && text != "a ^& b & c" {
			t.Errorf("Words(%q) = %q, want an error", text, got)
		}
	}
}

// FuzzWords checks that words survive quoting in each of the styles, and that no text is too strange.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"curl 'a b'", `curl ^"a^"`, `$'\x4'`, `$'\u'`, "a\\", "^", "\"^", `\\\"`, "a & b", "#", "$'\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if words, err := Words(text); err == nil && len(words) > len(text)+1 {
			t.Errorf("%d words in %q", len(words), text)
		}
		if strings.ContainsRune(text, 0) {
			return
		}
		single := "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
		if got, err := Words("curl " + single + " x"); err != nil || !slices.Equal(got, []string{"curl", text, "x"}) {
			t.Errorf("Words of %q in single quotes = %q, %v", text, got, err)
		}
		ansi := "$'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(text) + "'"
		if got, err := Words("curl " + ansi); err != nil || !slices.Equal(got, []string{"curl", text}) {
			t.Errorf("Words of %q in $'…' = %q, %v", text, got, err)
		}
		if strings.ContainsAny(text, "\r\n") { // cmd.exe has no quoting for them that browsers agree on
			return
		}
		if got, err := Words("curl ^\"x^\" " + cmdQuoted(text)); err != nil || !slices.Equal(got, []string{"curl", "x", text}) {
			t.Errorf("Words of %q for cmd.exe = %q, %v", text, got, err)
		}
	})
}

// cmdQuoted quotes a word for cmd.exe as Chrome does.
func cmdQuoted(word string) string {
	var b strings.Builder
	slashes := 0
	for _, c := range []byte(word) {
		switch c {
		case '\\':
			slashes++
		case '"':
			b.WriteString(strings.Repeat(`\`, slashes+1))
			slashes = 0
		default:
			slashes = 0
		}
		b.WriteByte(c)
	}
	inner := b.String() + strings.Repeat(`\`, slashes)
	var out strings.Builder
	for _, c := range []byte(`"` + inner + `"`) {
		if strings.IndexByte("\"^&|<>%!() \t", c) >= 0 && c != ' ' && c != '\t' {
			out.WriteByte('^')
		}
		out.WriteByte(c)
	}
	return out.String()
}
