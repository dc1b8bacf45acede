package chunk

import (
	"encoding"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
)

var (
	_ encoding.TextMarshaler   = Sum{}
	_ encoding.TextUnmarshaler = (*Sum)(nil)
)

// The checksums of "abc", from RFC 1321 and FIPS 180.
const (
	abcMD5    = "md5:900150983cd24fb0d6963f7d28e17f72"
	abcSHA1   = "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"
	abcSHA224 = "sha224:23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"
	abcSHA256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	abcSHA384 = "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
	abcSHA512 = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)

// The checksums of "abc" as defined by RFC 7693 appendix A, RFC 3720 section 12.1 and RFC
// 1950 section 9.
const (
	abcBLAKE2b = "blake2b:ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
	abcCRC32C  = "crc32c:364b3fb7"
	abcAdler32 = "adler32:024d0127"

	abcCRC32 = "crc32:352441c2"
)

var abcSums = []string{abcMD5, abcSHA1, abcSHA224, abcSHA256, abcSHA384, abcSHA512, abcBLAKE2b, abcCRC32C, abcAdler32, abcCRC32}

// mustParseSum returns the Sum with the given text form.
func mustParseSum(t testing.TB, text string) Sum {
	t.Helper()
	s, err := ParseSum(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The check value of the catalogue of CRCs for CRC-64/NVME.
func TestCRC64NVME(t *testing.T) {
	s := mustParseSum(t, "crc64nvme:ae8b14860a799888")
	h := s.NewHash()
	io.WriteString(h, "123456789")
	if !s.Matches(h) {
		t.Errorf("got %v, want %v", s.Of(h), s)
	}
}

// A digest of unknown algorithm matches under each of the two that it may be of.
func TestSumOfEither(t *testing.T) {
	for _, text := range []string{abcSHA512, abcBLAKE2b} {
		_, digits, _ := strings.Cut(text, ":")
		s := mustParseSum(t, "sha512|blake2b:"+digits)
		if got, want := s.String(), "sha512|blake2b:"+digits; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		h := s.NewHash()
		for _, data := range []string{"abd", "abc"} {
			h.Reset()
			io.WriteString(h, data)
			if got, want := s.Matches(h), data == "abc"; got != want || s.Of(h) == s != want {
				t.Errorf("%s, %q: got %t, want %t", s, data, got, want)
			}
		}
	}
}

func TestSumMatches(t *testing.T) {
	for _, text := range abcSums {
		s := mustParseSum(t, text)
		for _, data := range []string{"abc", "", "abd", "abcabc"} {
			h := s.NewHash()
			io.WriteString(h, data)
			if got, want := s.Matches(h), data == "abc"; got != want {
				t.Errorf("%s.Matches(hash of %q): got %t, want %t", text, data, got, want)
			}
			if got, want := s.Of(h) == s, data == "abc"; got != want {
				t.Errorf("%s.Of(hash of %q): got %v", text, data, s.Of(h))
			}
		}
	}
}

func TestSumMatchesAfterSeveralWrites(t *testing.T) {
	s := mustParseSum(t, abcSHA256)
	h := s.NewHash()
	for i, part := range []string{"a", "", "b", "c"} {
		io.WriteString(h, part)
		if got, want := s.Matches(h), i == 3; got != want {
			t.Errorf("Matches after write %d: got %t, want %t", i, got, want)
		}
	}
}

func TestSumOfOtherAlgorithmDiffers(t *testing.T) {
	for i, text := range abcSums {
		other := mustParseSum(t, abcSums[(i+1)%len(abcSums)])
		h := other.NewHash()
		io.WriteString(h, "abc")
		if mustParseSum(t, text).Matches(h) {
			t.Errorf("%s.Matches(hash of %s): got true", text, other)
		}
	}
}

func TestParseSumSpellings(t *testing.T) {
	_, digest, _ := strings.Cut(abcSHA256, ":")
	for _, name := range []string{"sha256", "SHA256", "Sha256", "sha-256", "SHA-256"} {
		for _, sep := range []string{":", "="} {
			for _, digits := range []string{digest, strings.ToUpper(digest)} {
				s, err := ParseSum(name + sep + digits)
				if got := s.String(); got != abcSHA256 || err != nil {
					t.Errorf("ParseSum(%q): got %q, %v, want %q", name+sep+digits, got, err, abcSHA256)
				}
			}
		}
	}
	for _, text := range abcSums {
		name, digits, _ := strings.Cut(text, ":")
		dashed := strings.Replace(strings.ToUpper(name), "SHA", "SHA-", 1) + "=" + digits
		if got := mustParseSum(t, dashed).String(); got != text {
			t.Errorf("ParseSum(%q): got %q, want %q", dashed, got, text)
		}
		if got := mustParseSum(t, text).Algorithm(); got != name {
			t.Errorf("Algorithm of %s: got %q, want %q", text, got, name)
		}
	}
	_, digest, _ = strings.Cut(abcBLAKE2b, ":")
	for _, name := range []string{"blake2b", "BLAKE2b", "b2", "B2", "blake2b-512", "BLAKE2B-512"} {
		if got := mustParseSum(t, name+":"+digest).String(); got != abcBLAKE2b {
			t.Errorf("ParseSum of %s: got %q, want %q", name, got, abcBLAKE2b)
		}
	}
}

// The error for an unknown algorithm lists the known algorithms, except for the pair that
// stands for an unknown one.
func TestParseSumErrorListsAlgorithms(t *testing.T) {
	_, err := ParseSum("whirlpool:00")
	if err == nil {
		t.Fatal("ParseSum of whirlpool: got no error")
	}
	names := strings.Split(algorithmNames, ", ")
	if len(names) != len(algorithms)-1 || !strings.Contains(err.Error(), algorithmNames) {
		t.Errorf("got error %v, want one that lists the %d algorithms", err, len(algorithms)-1)
	}
	for _, name := range names {
		if algorithms[name] == nil {
			t.Errorf("algorithmNames has %q, which algorithms does not have", name)
		}
	}
}

// malformedSums are texts that ParseSum rejects. Each error must quote the given part of
// the text.
var malformedSums = []struct{ name, text, quoted string }{
	{"empty", "", ""},
	{"no algorithm", "900150983cd24fb0d6963f7d28e17f72", "900150983cd24fb0d6963f7d28e17f72"},
	{"space for a colon", strings.Replace(abcMD5, ":", " ", 1), "md5 900150983cd24fb0d6963f7d28e17f72"},
	{"empty algorithm", strings.TrimPrefix(abcMD5, "md5"), ""},
	{"unknown algorithm", "crc16:0000", "crc16"},
	{"unknown, in capitals", "CRC-32=00000000", "CRC-32"},
	{"BLAKE2b of other length", "blake2b-256:00", "blake2b-256"},
	{"BLAKE2s", "blake2s:00", "blake2s"},
	{"dashed twice", strings.Replace(abcSHA1, "sha1", "sha--1", 1), "sha--1"},
	{"truncated SHA-2", "sha512/256:00", "sha512/256"},
	{"space before", " " + abcMD5, " md5"},
	{"space after the name", strings.Replace(abcMD5, ":", " :", 1), "md5 "},
	{"no digits", "md5:", "md5:"},
	{"two colons", strings.Replace(abcMD5, ":", "::", 1), strings.Replace(abcMD5, ":", "::", 1)},
	{"odd digits", abcMD5[:len(abcMD5)-1], abcMD5[:len(abcMD5)-1]},
	{"too few digits", abcMD5[:len(abcMD5)-2], abcMD5[:len(abcMD5)-2]},
	{"one digit more", abcMD5 + "0", abcMD5 + "0"},
	{"too many digits", abcMD5 + "00", abcMD5 + "00"},
	{"digits of another algorithm", strings.Replace(abcSHA1, "sha1", "sha256", 1), strings.Replace(abcSHA1, "sha1", "sha256", 1)},
	{"not a digit", abcMD5[:len(abcMD5)-1] + "g", abcMD5[:len(abcMD5)-1] + "g"},
	{"base64", "md5:kAFQmDzST7DWlj99KOF/cg==", "md5:kAFQmDzST7DWlj99KOF/cg=="},
	{"end of line", abcMD5 + "\n", abcMD5 + "\n"},
	{"file name after", abcMD5 + "  file", abcMD5 + "  file"},
}

func TestParseSumMalformed(t *testing.T) {
	for _, tc := range malformedSums {
		s, err := ParseSum(tc.text)
		if err == nil || !s.IsZero() {
			t.Errorf("%s: ParseSum(%q): got %v, %v, want an error", tc.name, tc.text, s, err)
			continue
		}
		if want := strconv.Quote(tc.quoted); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: ParseSum(%q): got error %v, want one that quotes %s", tc.name, tc.text, err, want)
		}
	}
}

// The error for a wrong number of digits states the right number.
func TestParseSumErrorStatesDigits(t *testing.T) {
	for _, text := range abcSums {
		name, digits, _ := strings.Cut(text, ":")
		_, err := ParseSum(name + ":00")
		if want := strconv.Itoa(len(digits)) + " hex digits of " + name; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSum(%q): got error %v, want one with %q", name+":00", err, want)
		}
	}
}

func TestSumText(t *testing.T) {
	for _, text := range append([]string{""}, abcSums...) {
		s := mustParseSum(t, abcMD5) // must be replaced
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("UnmarshalText(%q): %v", text, err)
		}
		if got := s.String(); got != text || s.IsZero() != (text == "") {
			t.Errorf("UnmarshalText(%q): got %q, zero %t", text, got, s.IsZero())
		}
		if got, err := json.Marshal(s); string(got) != `"`+text+`"` || err != nil {
			t.Errorf("Marshal of %q: got %s, %v", text, got, err)
		}
	}
	if (Sum{}) == mustParseSum(t, abcMD5) || mustParseSum(t, abcMD5) != mustParseSum(t, strings.ToUpper(abcMD5)) {
		t.Error("== of equal and of different Sums: got wrong results")
	}
}

func TestSumUnmarshalTextMalformed(t *testing.T) {
	for _, tc := range malformedSums {
		if tc.text == "" {
			continue // valid: no checksum
		}
		var s Sum
		if err := s.UnmarshalText([]byte(tc.text)); err == nil || !s.IsZero() {
			t.Errorf("%s: UnmarshalText(%q): got %v, %v, want an error", tc.name, tc.text, s, err)
		}
	}
}

func FuzzSum(f *testing.F) {
	for _, text := range abcSums {
		f.Add(text)
		f.Add(strings.Replace(strings.ToUpper(text), ":", "=", 1))
		f.Add(strings.Replace(text, "blake2b", "b2", 1))
	}
	for _, tc := range malformedSums {
		f.Add(tc.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSum(text)
		name, digits, _ := strings.Cut(strings.Replace(text, "=", ":", 1), ":")
		if err != nil {
			if !strings.Contains(err.Error(), strconv.Quote(text)) && !strings.Contains(err.Error(), strconv.Quote(name)) {
				t.Errorf("ParseSum(%q): got error %v, want one that quotes it", text, err)
			}
			return
		}
		key := strings.Replace(strings.ToLower(name), "sha-", "sha", 1)
		if strings.HasPrefix(key, "b") {
			key = "blake2b"
		}
		if want := key + ":" + strings.ToLower(digits); s.String() != want {
			t.Errorf("ParseSum(%q): got %q, want %q", text, s, want)
		}
		if reparsed, err := ParseSum(s.String()); reparsed != s || err != nil {
			t.Errorf("ParseSum(%q) of ParseSum(%q): got %v, %v", s, text, reparsed, err)
		}
		if got, want := 2*s.NewHash().Size(), len(digits); got != want {
			t.Errorf("ParseSum(%q): got a hash of %d digits, want %d", text, got, want)
		}
	})
}
