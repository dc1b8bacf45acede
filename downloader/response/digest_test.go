package response

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"pawl/chunk"
)

// Digests of the text {"hello": "world"} with a line feed (RFC 9530, appendix D).
const (
	hello256    = "sha256:44aff4ab2d7c3250525675a08f0cfa9591168cffe51791c5f5bbc417c15a6c38"
	hello256b64 = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="
	hello512b64 = "YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg=="
	hello512    = "sha512:60c01a9b9d49cff8ce0134faff3bc7acb5603984c6172d5de862623874e886ae323fea60938bdfd9a0acc9164eb70f0c8e433b8b0ef267f5a4a6998ce384f7aa"

	// The hex digits of hello256 in base64.
	hello256hexb64 = "NDRhZmY0YWIyZDdjMzI1MDUyNTY3NWEwOGYwY2ZhOTU5MTE2OGNmZmU1MTc5MWM1ZjViYmM0MTdjMTVhNmMzOA=="

	emptyMD5    = "md5:d41d8cd98f00b204e9800998ecf8427e"
	emptyMD5b64 = "1B2M2Y8AsgTpgAmY7PhCfg=="
	emptySHA1   = "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"
)

// headerOf returns the header of these lines, each "Name: value".
func headerOf(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

// wholeBody and partBody are responses with all bytes of a file, and with the first half.
var (
	wholeBody = Content{Whole: true, Range: chunk.Range{End: 100}, Version: Version{Size: 100}}
	partBody  = Content{Range: chunk.Range{End: 50}, Version: Version{Size: 100}}
)

func TestDigests(t *testing.T) {
	tests := []struct {
		lines []string
		want  []string // digests, the strongest first
	}{
		{[]string{"Repr-Digest: sha-256=:" + hello256b64 + ":"}, []string{hello256}},
		{[]string{"Repr-Digest: sha-256=:" + hello256b64 + ":;x=1;y"}, []string{hello256}},
		{[]string{"Repr-Digest: sha-256=:" + strings.TrimRight(hello256b64, "=") + ":"}, []string{hello256}},
		{[]string{"Repr-Digest: sha-256=:" + hello256b64 + ":, sha-512=:" + hello512b64 + ":"}, []string{hello512, hello256}},
		{[]string{"Repr-Digest: sha-256=:" + hello256b64 + ":", "Repr-Digest: sha-512=:" + hello512b64 + ":"}, []string{hello512, hello256}},
		{[]string{"Repr-Digest: sha-256=:AAAA:, sha-256=:" + hello256b64 + ":"}, []string{hello256}}, // the last one counts
		{[]string{"Repr-Digest: sha-256=:" + hello256hexb64 + ":"}, []string{hello256}},
		{[]string{"Repr-Digest: md5=:AAAA:, sha-256=:" + hello256b64 + ":"}, []string{hello256}},
		{[]string{"Repr-Digest: md5=:" + emptyMD5b64 + ":"}, []string{emptyMD5}},
		{[]string{"Repr-Digest: crc32c=:4gcgLQ==:"}, []string{"crc32c:e207202d"}},
		{[]string{"Repr-Digest: sha-256=:" + hello256b64 + ":, unixsum=3, id-sha-256=?1, a=(1 2)"}, []string{hello256}},
		{[]string{"Repr-Digest: x=\":AAAAA:\", sha-256=:" + hello256b64 + ":"}, []string{hello256}},
		{[]string{"Repr-Digest: sha-256=:" + hello256b64 + ":, broken=:"}, nil}, // the whole field does not count
		{[]string{"Repr-Digest: SHA-256=:" + hello256b64 + ":"}, nil},           // keys are in lower case (RFC 9651 §3.1.2)
		{[]string{"Repr-Digest: sha-256=" + hello256b64}, nil},
		{[]string{"Repr-Digest: sha-256"}, nil},
		{[]string{"Repr-Digest: sha-256=:AAAA:"}, nil},
		{[]string{"Repr-Digest:"}, nil},

		{[]string{"Digest: SHA-256=" + hello256b64}, []string{hello256}},
		{[]string{"Digest: sha-256=" + hello256b64 + ", MD5=" + emptyMD5b64 + ",unixsum=30637"}, []string{hello256, emptyMD5}},
		{[]string{"Digest: SHA-256=" + hello256hexb64}, []string{hello256}},
		{[]string{"Digest: sha-256=" + strings.TrimPrefix(hello256, "sha256:")}, []string{hello256}},
		{[]string{"Digest: SHA=2jmj7l5rSw0yVb/vlWAYkK/YBwk="}, []string{emptySHA1}},
		{[]string{"Digest: adler32=03da0195"}, []string{"adler32:03da0195"}}, // dCache
		{[]string{"Digest: crc32c=e207202d"}, []string{"crc32c:e207202d"}},
		{[]string{"Digest: SHA-256"}, nil},
		{[]string{"Digest: sha-256=!!!!, =, ,"}, nil},

		{[]string{"Content-Digest: sha-256=:" + hello256b64 + ":"}, []string{hello256}},
		{[]string{"Content-MD5: " + emptyMD5b64}, []string{emptyMD5}},
		{[]string{"Content-MD5: d41d8cd98f00b204e9800998ecf8427e"}, []string{emptyMD5}},

		{[]string{"X-Goog-Hash: crc32c=4gcgLQ==,md5=" + emptyMD5b64}, []string{emptyMD5, "crc32c:e207202d"}},
		{[]string{"X-Goog-Hash: crc32c=4gcgLQ==", "X-Goog-Hash: md5=" + emptyMD5b64}, []string{emptyMD5, "crc32c:e207202d"}},
		{[]string{"X-Goog-Hash: crc32c=4gcgLQ=="}, []string{"crc32c:e207202d"}},
		{[]string{"X-Goog-Hash: crc32c=4gcgLQ==", "X-Goog-Stored-Content-Encoding: gzip"}, nil},
		{[]string{"X-Goog-Hash: crc32c=4gcgLQ==", "X-Goog-Stored-Content-Encoding: identity"}, []string{"crc32c:e207202d"}},
		{[]string{"X-Goog-Hash: crc32c=4gcgLQ==", "X-Goog-Stored-Content-Encoding: gzip", "Content-Encoding: gzip"}, []string{"crc32c:e207202d"}},

		{[]string{"X-Amz-Checksum-Sha256: " + hello256b64}, []string{hello256}},
		{[]string{"X-Amz-Checksum-Sha256: " + hello256b64 + "-3"}, nil},
		{[]string{"X-Amz-Checksum-Sha256: " + hello256b64, "X-Amz-Checksum-Type: COMPOSITE"}, nil},
		{[]string{"X-Amz-Checksum-Crc32c: 4gcgLQ==", "X-Amz-Checksum-Type: FULL_OBJECT"}, []string{"crc32c:e207202d"}},
		{[]string{"X-Amz-Checksum-Crc32: 4gcgLQ==-17"}, nil},
		{[]string{"X-Amz-Checksum-Crc64nvme: rosUhgp5mIg="}, []string{"crc64nvme:ae8b14860a799888"}},

		{[]string{"X-Checksum-Sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709", "X-Checksum-Md5: d41d8cd98f00b204e9800998ecf8427e", "X-Checksum-Sha256: " + strings.ToUpper(hello256[7:])}, []string{hello256, emptySHA1, emptyMD5}},
		{[]string{"Docker-Content-Digest: " + hello256}, []string{hello256}},
		{[]string{"X-Ms-Blob-Content-Md5: " + emptyMD5b64}, []string{emptyMD5}},
		{[]string{"OC-Checksum: SHA1:da39a3ee5e6b4b0d3255bfef95601890afd80709 MD5:d41d8cd98f00b204e9800998ecf8427e"}, []string{emptySHA1, emptyMD5}},

		// A field that a server vouches for is before a hint.
		{[]string{"Content-MD5: " + emptyMD5b64, "X-Goog-Hash: crc32c=4gcgLQ=="}, []string{"crc32c:e207202d", emptyMD5}},
		{[]string{"Content-MD5: " + emptyMD5b64, "X-Goog-Hash: md5=AAAAAAAAAAAAAAAAAAAAAA=="}, []string{"md5:00000000000000000000000000000000"}},
	}
	for _, tt := range tests {
		var got []string
		all, contradicting := Digests(headerOf(tt.lines...), wholeBody)
		for _, d := range all {
			got = append(got, d.String())
		}
		if !slices.Equal(got, tt.want) || len(contradicting) > 0 {
			t.Errorf("%q: got %v, contradicting %v, want %v", tt.lines, got, contradicting, tt.want)
		}
	}
}

// The digest of a body says nothing about the file if the body is a part of it, or if a
// content coding is removed.
func TestDigestsOfPart(t *testing.T) {
	h := headerOf("Content-Digest: sha-256=:"+hello256b64+":", "Content-MD5: "+emptyMD5b64, "X-Amz-Checksum-Crc32c: 4gcgLQ==")
	if all, _ := Digests(h, partBody); len(all) > 0 {
		t.Errorf("of a part: got %v, want none", all)
	}
	all206 := Content{Range: chunk.Range{End: 100}, Version: Version{Size: 100}}
	if all, _ := Digests(h, all206); len(all) != 3 {
		t.Errorf("of a part that is the whole: got %v, want 3", all)
	}
	h = headerOf("Repr-Digest: sha-256=:" + hello256b64 + ":")
	if all, _ := Digests(h, partBody); len(all) != 1 {
		t.Errorf("Repr-Digest of a part: got %v, want one", all)
	}
	if all, _ := Digests(h, Content{Whole: true, Gzip: true}); len(all) > 0 {
		t.Errorf("of coded bytes: got %v, want none", all)
	}
}

// Two fields with different digests of one algorithm do not count; other fields do.
func TestDigestsContradict(t *testing.T) {
	all, contradicting := Digests(headerOf("Repr-Digest: sha-256=:"+hello256b64+":", "X-Checksum-Sha256: "+strings.Repeat("00", 32), "X-Checksum-Sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709"), wholeBody)
	if len(all) != 1 || all[0].String() != emptySHA1 || !slices.Equal(contradicting, []string{"Repr-Digest", "X-Checksum-Sha256"}) {
		t.Errorf("got %v, contradicting %v", all, contradicting)
	}
}

// The transport drops each field that is not in Fields.
func TestDigestFieldsAreKept(t *testing.T) {
	for _, name := range digestFields() {
		if http.CanonicalHeaderKey(name) != name || !slices.Contains(Fields, name) {
			t.Errorf("%q is not in Fields", name)
		}
	}
}

func FuzzDigests(f *testing.F) {
	f.Add("Repr-Digest", "sha-256=:"+hello256b64+":, sha-512=:"+hello512b64+":;a=b")
	f.Add("Repr-Digest", "sha-256=:,:=;")
	f.Add("Digest", "SHA-256="+hello256hexb64)
	f.Add("X-Goog-Hash", "crc32c=4gcgLQ==,md5=")
	f.Add("X-Amz-Checksum-Sha256", hello256b64+"-3")
	f.Fuzz(func(t *testing.T, field, value string) {
		all, _ := Digests(http.Header{http.CanonicalHeaderKey(field): {value}}, wholeBody)
		for _, d := range all {
			if d.IsZero() || d.Field == "" {
				t.Errorf("%s: %q: got %v", field, value, d)
			}
		}
	})
}
