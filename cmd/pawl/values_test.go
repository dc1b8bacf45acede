package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "0.5": time.Second / 2, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "0": 0,
	} {
		var d duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q: got %v, %v, want %v", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1", "-5s", "1 h", "NaN", "inf", "1e300"} {
		var d duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, time.Duration(d))
		} else if !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: the error does not quote it: %v", text, err)
		}
	}
}

func TestByteRate(t *testing.T) {
	for text, want := range map[string]int64{
		"500": 500, "500K": 500 << 10, "10m": 10 << 20, "1G": 1 << 30, "1.5M": 3 << 19, "2MiB/s": 2 << 20, "3MB": 3 << 20, "0": 0, "off": 0,
	} {
		var r byteRate
		if err := r.UnmarshalText([]byte(text)); err != nil || int64(r) != want {
			t.Errorf("%q: got %d, %v, want %d", text, r, err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1", "K", "1X", "NaN", "inf", "1e30"} {
		var r byteRate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, r)
		}
	}
}

func TestTries(t *testing.T) {
	for text, want := range map[string]tries{"10": 10, "0": 0, "inf": 0} {
		var n tries
		if err := n.UnmarshalText([]byte(text)); err != nil || n != want {
			t.Errorf("%q: got %d, %v, want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "-1", "many", "1.5"} {
		if err := new(tries).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestHeader(t *testing.T) {
	for text, want := range map[string]header{"A: b": oneField("A", "b"), "X-Y:z:  q, r ": oneField("X-Y", "z:  q, r"), "Empty:": oneField("Empty", "")} {
		var h header
		if err := h.UnmarshalText([]byte(text)); err != nil || !reflect.DeepEqual(h, want) {
			t.Errorf("%q: got %v, %v, want %v", text, h, err, want)
		}
	}
	for _, text := range []string{"", "open-sesame", ": open-sesame", "a b: open-sesame", "A: open-sesame\r\nB: c", "Ä: open-sesame"} {
		if err := new(header).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		} else if strings.Contains(err.Error(), "open-sesame") {
			t.Errorf("%q: the error contains the value: %v", text, err)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB", 3 << 29: "1.5 GiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8192.0 PiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestSuggestion(t *testing.T) {
	for word, want := range map[string]string{
		"lst": `"pawl list"`, "resme": `"pawl resume"`, "example.com/x": `"https://example.com/x"`, "xyzzy": "",
	} {
		got := suggestion(word)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %s", word, got, want)
		}
	}
}

func TestRequestRate(t *testing.T) {
	for text, want := range map[string]float64{
		"10": 10, "10/s": 10, "0.5": 0.5, "0.5/S": 0.5, "30/m": 0.5, "1/m": 1.0 / 60, "0": 0, "off": 0,
	} {
		var r requestRate
		if err := r.UnmarshalText([]byte(text)); err != nil || r.perSecond() != want {
			t.Errorf("%q: got %v, %v, want %v", text, r.perSecond(), err, want)
		}
	}
	for _, text := range []string{"", "many", "-1", "/s", "10/h", "10/s/s", "10/m/s", "NaN", "inf", "1e-9", "1e30"} {
		var r requestRate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, r)
		} else if !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: the error does not quote it: %v", text, err)
		}
	}
}

func TestMediaType(t *testing.T) {
	long := strings.Repeat("x", 127)
	for text, want := range map[string]mediaType{
		"application/zip": "application/zip", " Image/* ": "image/*", "*/*": "*/*", "!text/html": "!text/html", "a/vnd.b+c": "a/vnd.b+c", long + "/" + long: mediaType(long + "/" + long),
	} {
		var m mediaType
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want {
			t.Errorf("%q: got %q, %v, want %q", text, m, err, want)
		}
	}
	for _, text := range []string{"", "zip", "/", "a/", "/b", "*/zip", "a/b/c", "a b/c", "-a/b", "!!a/b", long + "x/b", "a/x" + long} {
		if err := new(mediaType).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
