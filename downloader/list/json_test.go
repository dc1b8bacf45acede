package list

import "testing"

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
			`{"url":"http://h/x","out":"\udce9"}` + "\n" + `{"url":"http://h/x","out":"\ud83d\ude00 \\ud800 \ufffd"}` + "\n" + `{"url":"http://h/x","out":"\ud83d\u0041"}` + "\n" +
			`{"url":"http://h/x","out":"\ud83d"}` + "\n" + `{"url":"http://h/x","out":"a\u12"}`, want: []string{
			"! L:1: is not UTF-8, which JSON requires (RFC 8259 section 8.1)", "2: http://h/x out=caf\ufffd", `! L:3: contains a \u escape that is half of a surrogate pair`,
			`! L:4: file name "😀 \\ud800 �" contains a backslash`, `! L:5: contains a \u escape that is half of a surrogate pair`, `! L:6: contains a \u escape that is half of a surrogate pair`, `! L:7: invalid character '"' in \u hexadecimal character escape`}},
		{name: "wrong types", text: `{"url":"http://h/x","headers":{"A":1}}` + "\n" + `{"url":7}`, want: []string{
			`! L:1: key "headers" cannot be a number`,
			`! L:2: key "url" cannot be a number`}},
	})
}
