package list

import (
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"http://h/x":                 "http://h/x",
		"":                           "",
		"{a,b,cc}":                   "a b cc",
		"x{,a}y":                     "xy xay",
		"[1-3]":                      "1 2 3",
		"[8-11]":                     "8 9 10 11",
		"[08-11]":                    "08 09 10 11",
		"[098-100]":                  "098 099 100",
		"[000-100:50]":               "000 050 100",
		"[000-100:60]":               "000 060",
		"[0-2]":                      "0 1 2",
		"[1-1]":                      "1",
		"[99-101]":                   "99 100 101",
		"[a-c]":                      "a b c",
		"[A-E:2]":                    "A C E",
		"[z-z]":                      "z",
		"<[1-2]>{a,b}[x-y]":          "<1>ax <1>ay <1>bx <1>by <2>ax <2>ay <2>bx <2>by",
		"http://[::1]/[1-2]":         "http://[::1]/1 http://[::1]/2",
		"http://u:p@[fe80::1-2]:80/": "http://u:p@[fe80::1-2]:80/",
		"http://[1-2]:80/":           "http://1:80/ http://2:80/",
		"http://h/[1-2]@x":           "http://h/1@x http://h/2@x",
		"[999999999999999999-999999999999999999]": "999999999999999999",

		// Braces and brackets that are no pattern are literal.
		"{": "{", "[1-2": "[1-2", "x}": "x}", "x]": "x]", "{}": "{}", "[]": "[]", "[1]": "[1]", "[a]": "[a]", "[1-]": "[1-]", "[-1]": "[-1]",
		"[1--2]": "[1--2]", "[a-Z]": "[a-Z]", "[A-z]": "[A-z]", "[a-1]": "[a-1]", "[aa-bb]": "[aa-bb]", "[1-3:]": "[1-3:]", "[1-3:-1]": "[1-3:-1]", "[+1-3]": "[+1-3]",
		"{a,{b}}":                        "{a,{b}}",
		"{a[1-2]}":                       "{a1} {a2}",
		"{x{a,b}":                        "{xa {xb",
		"?id={1F2A-3B}&n=[1-2]":          "?id={1F2A-3B}&n=1 ?id={1F2A-3B}&n=2",
		`?q={"a":1,"b":2}`:               `?q={"a":1,"b":2}`,
		`?d[0]=["a","b"]`:                `?d[0]=["a","b"]`,
		"[1-1000000000000000000]":        "[1-1000000000000000000]", // more than 18 digits
		"http://[::1/":                   "http://[::1/",
		"file [2020-01-02] (copy) {1}.x": "file [2020-01-02] (copy) {1}.x",
	} {
		seq, err := Expand(pattern)
		if err != nil {
			t.Errorf("Expand(%q): %v", pattern, err)
			continue
		}
		got := slices.Collect(seq)
		if strings.Join(got, " ") != want {
			t.Errorf("Expand(%q): got %q, want %q", pattern, got, want)
		}
		if n, err := Count(pattern); n != int64(len(got)) || err != nil {
			t.Errorf("Count(%q): got %d, %v, want %d", pattern, n, err, len(got))
		}
		for range seq {
			break // calling yield after this panics
		}
	}
}

func TestExpandErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"[3-1]":                `"3-1" is not a range`,
		"[c-a]":                `"c-a" is not a range`,
		"[1-3:0]":              `"1-3:0" is not a range`,
		"[1-1000000001]":       "more than 1000000000 URLs",
		"[1-100000][1-100000]": "more than 1000000000 URLs",
	} {
		seq, err := Expand(pattern)
		if err == nil || seq != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Expand(%q): got %v, want an error with %q", pattern, err, want)
		}
		if n, err := Count(pattern); n != 0 || err == nil {
			t.Errorf("Count(%q): got %d, %v, want an error", pattern, n, err)
		}
	}
	if n, err := Count("[1-1000000000]"); n != maxExpanded || err != nil {
		t.Errorf("Count of the largest pattern: got %d, %v, want %d", n, err, maxExpanded)
	}
	if _, err := Expand("http://u:secret@h/[2-1]"); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error contains the password: %v", err)
	}
}

// Expand returns as many URLs as Count says, and the address of the host stays.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"http://h/{a,b}[1-3]", "[001-100:2]", "[a-z:3]", "http://[::1]/{}", "[9-1]", "{a,{b}}", "]", "[1-99999999999]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		n, err := Count(pattern)
		seq, err2 := Expand(pattern)
		if (err == nil) != (err2 == nil) || err == nil && (n < 1 || n > maxExpanded) {
			t.Fatalf("%q: Count got %d, %v, Expand %v", pattern, n, err, err2)
		}
		if err != nil {
			return
		}
		hostEnd, got := ipv6HostEnd(pattern), int64(0)
		for url := range seq {
			if got++; got > 1000 {
				return
			}
			if len(url) < hostEnd || url[:hostEnd] != pattern[:hostEnd] {
				t.Fatalf("%q: got %q", pattern, url)
			}
		}
		if got != n {
			t.Errorf("%q: got %d URLs, want %d", pattern, got, n)
		}
	})
}
