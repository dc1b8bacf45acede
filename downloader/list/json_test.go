package list

import (
	"strings"
	"testing"
)

func TestReadJSON(t *testing.T) {
	checkCases(t, []readCase{
		{name: "all keys", text: `{"url":"http://h/x","urls":["http://i/x"],"mirrors":[" http://j/x "],"out":"d/x","dir":"/data","checksum":"sha256:` + hex64 +
			`","size":7,"headers":{"X-A":"1","x-b":["2","3"],"Referer":"*"},"other":{"a":[1]}}`, want: []string{
			`1: http://h/x http://i/x http://j/x dir=/data out=d/x sha256:` + hex64 + ` size=7 Referer=["http://h/x"] X-A=["1"] X-B=["2" "3"]`}},
		{name: "null and empty values", text: `{"url":"http://h/x","urls":null,"out":"","checksum":"","size":null,"headers":null}`, want: []string{"1: http://h/x"}},
		{name: "lines", text: "# c\n\n{\"url\":\"http://h/x\"}\n  {\"urls\":[\"http://h/y\"], \"size\":0}  \n", want: []string{"3: http://h/x", "4: http://h/y size=0"}},
		{name: "errors hide secrets", text: `{"url":"http://h/x","headers":{"A":"sec\nret"}}` + "\n" + `{"url":"ftp://u:p@h/x"}`, want: []string{
			"! L:1: value of header A contains a control character", `! L:2: "ftp://h/x" is not an http or https URL`}},
		{name: "invalid values", text: `{"url":"http://h/x","out":"../x"}
{"url":"http://h/x","size":-1}
{"url":"http://h/x","checksum":"md5:00"}
{"url":"http://h/x","dir":"a\u0000b"}
{"url":"http://h/x","headers":{"a b":""}}
{"out":"x"}
http://h/x
{"url":"http://h/x"}`, want: []string{
			`! L:1: file name "../x" contains the path element ".."`, "! L:2: size -1 is not a number of bytes",
			`! L:3: checksum "md5:00" does not have the 32 hex digits of md5`, `! L:4: directory "a\x00b" contains a control character`,
			"! L:5: header is not of the form Name: value", "! L:6: entry has no URL",
			"! L:7: invalid character 'h' looking for beginning of value", "8: http://h/x"}},
		{name: "syntax", text: `{"url":"http://h/x"} {}` + "\n" + `{"url":"http://h/x"` + "\n" + `{}`, want: []string{
			"! L:1: invalid character '{' after top-level value", "! L:2: unexpected end of JSON input", "! L:3: entry has no URL"}},
		{name: "invalid UTF-8 and surrogates", text: "{\"url\":\"http://h/x\",\"out\":\"caf\xe9\"}\n{\"url\":\"http://h/x\",\"out\":\"caf\ufffd\"}\n" +
			`{"url":"http://h/x","out":"\udce9"}` + "\n" + `{"url":"http://h/x","out":"\ud83d\ude00 /\\ud800/.. \ufffd/.."}` + "\n" + `{"url":"http://h/x","out":"\ud83d\u0041"}` + "\n" +
			`{"url":"http://h/x","out":"\ud83d"}` + "\n" + `{"url":"http://h/x","out":"a\u12"}`, want: []string{
			"! L:1: is not UTF-8, which JSON requires (RFC 8259 section 8.1)", "2: http://h/x out=caf\ufffd", `! L:3: contains a \u escape that is half of a surrogate pair`,
			`! L:4: file name "😀 /\\ud800/.. �/.." contains the path element ".."`, `! L:5: contains a \u escape that is half of a surrogate pair`, `! L:6: contains a \u escape that is half of a surrogate pair`, `! L:7: invalid character '"' in \u hexadecimal character escape`}},
		{name: "wrong types", text: `{"url":"http://h/x","headers":{"A":1}}` + "\n" + `{"url":7}`, want: []string{
			`! L:1: key "headers" cannot be a number`,
			`! L:2: key "url" cannot be a number`}},
	})
}

// The keys of programs and sites that write JSON.
func TestReadJSONOfTheWorld(t *testing.T) {
	sum, sri := " sha256:"+hex64, "sha256-ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8="
	unclear := func(line, key, n string) string {
		return "? L:" + line + `: key "` + key + `" looks like a digest and is not understood; entries not verified by it: ` + n
	}
	checkCases(t, []readCase{
		{name: "keys of digests", text: `{"url":"http://h/x","integrity":"` + sri + `"}
{"url":"http://h/x","lfs":{"oid":"` + hex64 + `","size":7}}
{"url":"http://h/x","lfs":{"oid":"sha256:` + hex64 + `"}}
{"url":"http://h/x","content_md5":"` + hex32 + `"}
{"url":"http://h/x","fileMD5":"` + hex32 + `"}
{"url":"http://h/x","file_hash":"` + hex64 + `"}
{"url":"http://h/x","md5Hash":"ASNFZ4mrze8BI0VniavN7w=="}
{"url":"http://h/x","checksums":[{"type":"md5","checksum":"` + hex32 + `"},{"algorithm":"SHA-256","checksumValue":"` + hex64 + `"}]}
{"url":"http://h/x","integrity":"` + sri + ` ` + sri + `"}
{"url":"http://h/x","checksum":"` + hex64 + `","checksumType":"SHA-256"}
{"url":"http://h/x","digests":{"blake2b_256":"` + hex64 + `","sha256":"` + hex64 + `"}}
{"url":"http://h/x#` + sri + `"}`, want: []string{
			"1: http://h/x" + sum, "2: http://h/x" + sum, "3: http://h/x" + sum, "4: http://h/x md5:" + hex32, "5: http://h/x md5:" + hex32, "6: http://h/x" + sum, "7: http://h/x md5:" + hex32,
			"8: http://h/x" + sum, "9: http://h/x" + sum, "10: http://h/x" + sum, "11: http://h/x" + sum, "12: http://h/x" + sum}},
		{name: "more keys of digests", text: `{"url":"http://h/x","method":"GET","checksum":"` + hex64 + `"}
{"url":"http://h/x","sum":"sha256:` + hex64 + `"}
{"url":"http://h/x","hashes":[{"alg":"blake3","content":"` + hex64 + `"}]}
{"url":"http://h/x","checksum":"` + hex64 + `","checksum_type":"blake3"}`, want: []string{
			"1: http://h/x" + sum, "2: http://h/x" + sum, `? L:3: unknown kind of digest "blake3" ignored; the file is not verified`, "3: http://h/x",
			`? L:4: unknown kind of digest "blake3" ignored; the file is not verified`, "4: http://h/x"}},
		{name: "keys that may be of digests", text: strings.Repeat(`{"url":"http://h/x","commit_sha":"`+hex40+`"}`+"\n", 2) + `{"url":"http://h/x","parent_hash":"` + hex64 + `","sha256":"` + hex64 + `"}
{"url":"http://h/x","sha":"` + hex40 + `","shape":"` + hex40 + `","hashed":true}`, want: []string{
			"1: http://h/x", "2: http://h/x", "3: http://h/x" + sum, "4: http://h/x", unclear("4", "commit_sha", "2"), unclear("4", "sha", "1")}},
		{name: "sizes", text: `{"url":"http://h/x","size":"4001"}
{"url":"http://h/x","fileSize":1}
{"url":"http://h/x","file_size":2.0}
{"url":"http://h/x","filesize":"3","bytes":4}
{"url":"http://h/x","bytes":"four"}
{"url":"http://h/x","size":"4 KB"}`, want: []string{
			"1: http://h/x size=4001", "2: http://h/x size=1", "3: http://h/x size=2", "4: http://h/x size=3", "5: http://h/x", "? L:6: sizes that are not numbers of bytes are ignored", "6: http://h/x"}},
		{name: "Dataverse", text: `{"url":"http://h/x","checksum":{"type":"MD5","value":"` + hex32 + `"}}`, want: []string{"1: http://h/x md5:" + hex32}},
		{name: "a number as checksum", text: `{"url":"http://h/x","checksum":7}`, want: []string{`? L:1: unknown kind of digest "checksum" ignored; the file is not verified`, "1: http://h/x"}},
		{name: "keys of URLs", text: `{"links":{"self":"http://h/1/content"},"key":"1.csv"}
{"download_url":"http://h/2","url":"http://api/2"}
{"url":"http://api/3","browser_download_url":"http://h/3"}
{"downloadUrl":"http://h/4"}
{"contentUrl":"http://h/5"}
{"uri":"http://h/6"}
{"href":"http://h/7"}
{"url":"http://h/8","download_url":null}
{"links":{"self":{"href":"http://h/9"}}}`, want: []string{
			"1: http://h/1/content out=1.csv", "2: http://h/2", "3: http://h/3", "4: http://h/4", "5: http://h/5", "6: http://h/6", "7: http://h/7", "8: http://h/8", "9: http://h/9"}},
		{name: "an object around entries", text: `{"id":1,"files":[{"url":"http://h/x"},{"url":"http://h/y"}],"n":[1]}`, want: []string{"1: http://h/x", "1: http://h/y"}},
		{name: "over lines", text: "{\n \"n\": 2,\n \"data\": [\n  {\n   \"uri\": \"http://h/x\"},\n  {\"size\":1}\n ]\n}\n", want: []string{"4: http://h/x", "! L:6: entry has no URL"}},
		{name: "two objects around entries", text: `{"hits":{"total":2,"hits":[{"files":[{"href":"http://h/x"}]},{"files":[{"href":"http://h/y"}],"a":{"b":"}"}}]}}`, want: []string{"1: http://h/x", "1: http://h/y"}},
		{name: "releases", text: `[{"url":"http://api/1","assets":[{"url":"http://api/2","browser_download_url":"http://h/x","name":"x"}],"body":"]}"},` + "\n" + `{"url":"http://h/y","assets":[]}]`, want: []string{
			"1: http://h/x out=x", "2: http://h/y"}},
		{name: "strings", text: `{"results":["http://h/x","http://h/y"]}`, want: []string{"1: http://h/x", "1: http://h/y"}},
		{name: "other arrays", text: `{"url":"http://h/x","data":[{"a":1}],"files":["a","b"],"items":[[1]]}` + "\n" + `{"url":"http://h/y"}`, want: []string{"1: http://h/x", "2: http://h/y"}},
		{name: "no entries", text: `{"files":[]}`, want: []string{"! L:1: entry has no URL"}},
		{name: "cut off", text: "{\"files\":[\n{\"url\":\"http://h/x\"},\n", want: []string{"2: http://h/x", "end L: reading failed after line 3: the array has no end"}},
		{name: "the index of nginx", o: Options{Base: "http://h/d/"}, text: `[
{ "name":"aa:b.bin", "type":"file", "mtime":"Wed, 01 Jan 2025 00:00:00 GMT", "size":5 },
{ "name":"d", "type":"directory", "mtime":"Wed, 01 Jan 2025 00:00:00 GMT" },
{ "name":"e", "type":"directory" }
]`, want: []string{"2: http://h/d/aa:b.bin out=aa:b.bin size=5", "? L:3: directories in JSON are ignored"}},
	})
}
