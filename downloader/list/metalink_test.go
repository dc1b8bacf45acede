package list

import (
	"fmt"
	"strings"
	"testing"
)

const (
	metalink4Head = "<?xml version='1.0' encoding='UTF-8'?>\n<metalink xmlns='urn:ietf:params:xml:ns:metalink'>"
	metalink3Head = "<metalink version='3.0' xmlns='http://www.metalinker.org/'><files>"
)

func TestReadMetalink(t *testing.T) {
	checkCases(t, []readCase{
		{name: "RFC 5854", text: metalink4Head + `
  <generator>g</generator>
  <origin dynamic="true">http://h/x.meta4</origin>
  <file
     name="dir/x.ext">
    <identity>X</identity><size>
      14471447 </size>
    <pieces length="262144" type="sha-256"><hash>` + hexB64 + `</hash></pieces>
    <hash type="md5">` + hex32 + `</hash>
    <hash type="sha-256"> ` + strings.ToUpper(hex64) + ` </hash>
    <hash type="sha-1">` + hex40 + `</hash>
    <hash type="tiger">zz</hash>
    <url location="de">http://last/x</url>
    <url location="de" priority="2">http://second/x?a&amp;b</url>
    <!-- c --><url priority="1">
      http://first/<![CDATA[x]]><!-- c -->
    </url>
    <metaurl mediatype="torrent" priority="1">http://h/x.torrent</metaurl>
    <signature mediatype="application/pgp-signature">x</signature>
  </file>
  <file name="y"><url priority="9">http://h/y</url><url priority="9">http://g/y</url></file>
</metalink>`, want: []string{
			"? L:5: digests of pieces ignored: their number does not fit the size",
			"5: http://first/x http://second/x?a&b http://last/x out=dir/x.ext sha256:" + hex64 + " size=14471447",
			"22: http://h/y http://g/y out=y"}},
		{name: "Metalink 3", text: metalink3Head + `<file name="x"><size>7</size><verification><hash type="sha1">` + hex40 + `</hash>
<pieces length="7" type="sha512"><hash piece="0">` + hex128 + `</hash></pieces></verification>
<resources maxconnections="1"><url type="http">http://none/x</url><url type="http" preference="10">http://ten/x</url>
<url type="bittorrent" preference="100">http://h/x.torrent</url><url type="ftp" preference="99">ftp://h/x</url>
<url type="https" preference="90">https://ninety/x</url></resources></file></files></metalink>`, want: []string{
			`? L:1: "ftp://h/x" is not an http or https URL; mirror ignored`,
			"1: https://ninety/x http://ten/x http://none/x out=x sha1:" + hex40 + " size=7 pieces=64*sha512/7"}},
		{name: "foreign markup", text: metalink4Head + `<file name="x" f:name="z" xmlns:f="urn:f"><f:url>http://evil/</f:url><f:file><url>http://evil/</url></f:file>` +
			`<url>http://h/x<f:x>evil</f:x></url><description><url>http://evil/</url></description></file><f:file xmlns:f="urn:f" name="y"><url>http://h/y</url></f:file></metalink>`,
			want: []string{"2: http://h/x out=x"}},
		{name: "a problem of a file drops only that file", text: metalink4Head + "\n" + strings.Join([]string{
			`<file><url>http://h/1</url></file>`,
			`<file name="/etc/passwd"><url>http://h/2</url></file>`,
			`<file name="a/../b"><url>http://h/3</url></file>`,
			`<file name="c:/b"><url>http://h/4</url></file>`,
			`<file name="\b"><url>http://h/5</url></file>`,
			`<file name="a&#10;b"><url>http://h/6</url></file>`,
			`<file name="a"><size>-1</size><url>http://h/7</url></file>`,
			`<file name="a"><hash type="sha-256">00</hash><url>http://h/8</url></file>`,
			`<file name="a"><metaurl mediatype="torrent">http://h/9</metaurl></file>`,
			`<file name="a"><url>ftp://h/10</url></file>`,
			`<file name="./b"><size/><url/><url priority="x">http://h/11</url></file>`,
		}, "\n") + "</metalink>", want: []string{
			"! L:3: file name is empty", `! L:4: file name "/etc/passwd" is an absolute path`, `! L:5: file name "a/../b" contains the path element ".."`,
			`! L:6: file name "c:/b" is an absolute path`, `! L:7: file name "\\b" is an absolute path`, `! L:8: file name "a\nb" contains a control character`,
			`! L:9: size "-1" is not a number of bytes`, `! L:10: checksum "sha256:00" does not have the 64 hex digits of sha256`,
			"! L:11: file has no URL", `! L:12: "ftp://h/10" is not an http or https URL`, "13: http://h/11 out=b"}},
		{name: "base", text: metalink4Head + "<file name='x'><url>m/x</url></file></metalink>", o: Options{Base: "http://b/d/"}, want: []string{"2: http://b/d/m/x out=x"}},
		{name: "other namespace", text: "<metalink xmlns='urn:x'/>", want: []string{"end L: is XML, but not a Metalink"}},
		{name: "other root", text: "<x xmlns='urn:ietf:params:xml:ns:metalink'/>", want: []string{"end L: is XML, but not a Metalink"}},
		{name: "requested format", text: "http://h/x", o: Options{Format: Metalink}, want: []string{"end L: is XML, but not a Metalink"}},
		{name: "unfinished", text: metalink4Head + "<file name='x'><url>http://h/x</url></file>\n<file name='y'><url>http://h/y</url>", want: []string{
			"2: http://h/x out=x", "end L: XML syntax error on line 3: unexpected EOF"}},
		{name: "DTD is not loaded", text: "<!DOCTYPE metalink SYSTEM 'http://evil/x.dtd' [<!ENTITY u 'http://evil/'>]>\n" + metalink3Head + "<file name='x'><url>http://h/x</url></file></files></metalink>",
			want: []string{"2: http://h/x out=x"}},
		{name: "entities are not resolved", text: "<!DOCTYPE metalink [<!ENTITY u 'http://evil/'>]>\n" + metalink3Head + "<file name='x'><url>&u;x</url></file></files></metalink>",
			want: []string{"end L: XML syntax error on line 2: invalid character entity &u;"}},
	})
}

// Depth, tokens, mirrors and entries of a Metalink have limits.
func TestReadMetalinkBounds(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies its time")
	}
	deep := strings.Repeat("<a>", maxDepth)
	long := strings.Repeat("x", maxLine)
	parts := strings.Repeat("<!-- -->"+long[:maxLine/4], 5)
	mirrors := strings.Repeat("<url>http://h/x</url>", maxMirrors+10)
	checkCases(t, []readCase{
		{name: "depth", text: metalink4Head + deep, want: []string{"end L: contains elements nested more than 64 deep"}},
		{name: "depth in a file", text: metalink4Head + "<file name='x'>" + deep, want: []string{"end L: contains elements nested more than 64 deep"}},
		{name: "text", text: metalink4Head + "<file name='x'><url>" + long, want: []string{"end L: " + errTokenTooLong.Error()}},
		{name: "text interrupted by comments", text: metalink4Head + "<file name='x'><url>" + parts + "</url></file></metalink>", want: []string{"end L: " + errTokenTooLong.Error()}},
		{name: "tag", text: metalink4Head + "<file name='" + long, want: []string{"end L: " + errTokenTooLong.Error()}},
		{name: "comment", text: metalink4Head + "<!--" + long, want: []string{"end L: " + errTokenTooLong.Error()}},
		{name: "one long line", text: metalink4Head + strings.Repeat("<file name='x'><url>http://h/"+long[:maxLine/2]+"</url></file>", 4) + "</metalink>",
			want: []string{"2: http://h/" + long[:maxLine/2] + " out=x", "2: http://h/" + long[:maxLine/2] + " out=x",
				"2: http://h/" + long[:maxLine/2] + " out=x", "2: http://h/" + long[:maxLine/2] + " out=x"}},
		{name: "mirrors", text: metalink4Head + "<file name='x'>" + mirrors + "</file></metalink>", want: []string{
			"? L:2: 10 mirrors ignored: an entry may have at most 1000 URLs and 1048576 bytes",
			fmt.Sprint("2: ", strings.TrimSpace(strings.Repeat("http://h/x ", maxMirrors)), " out=x")}},
		{name: "large mirrors", text: metalink4Head + "<file name='x'>" + strings.Repeat("<url>http://h/"+long[:maxLine/2]+"</url>", 3) + "</file></metalink>", want: []string{
			"? L:2: 2 mirrors ignored: an entry may have at most 1000 URLs and 1048576 bytes",
			"2: http://h/" + long[:maxLine/2] + " out=x"}},
		{name: "long name and long URL", text: metalink4Head + "<file name='" + long[:maxLine/2] + "'><url>http://h/" + long[:maxLine/2] + "</url></file></metalink>",
			want: []string{"! L:2: entry is longer than 1048576 bytes"}},
	})
}
