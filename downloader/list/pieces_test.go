package list

import (
	"fmt"
	"strings"
	"testing"
)

// The digests of pieces are read in the shapes of MirrorBrain and of MirrorManager. Wrong ones
// cost a warning, and not the file.
func TestReadPieces(t *testing.T) {
	three := strings.Repeat("<hash>"+hex40+"</hash>\n", 3)
	file := func(children string) string {
		return metalink4Head + "<file name='x'>" + children + "<url>http://h/x</url></file></metalink>"
	}
	const plain = "2: http://h/x out=x"
	checkCases(t, []readCase{
		{name: "MirrorBrain, Metalink 4", text: metalink4Head + `
  <generator>MirrorBrain (see http://mirrorbrain.org/)</generator>
  <origin dynamic="true">http://h/x.iso.meta4</origin>
  <published>2026-01-02T03:04:05Z</published>
  <publisher><name>P</name><url>http://h</url></publisher>
  <file name="x.iso">
    <size>700000</size>
    <!-- <mtime>1700000000</mtime> -->
    <hash type="md5">` + hex32 + `</hash>
    <hash type="sha-1">` + hex40 + `</hash>
    <hash type="sha-256">` + hex64 + `</hash>
    <pieces length="262144" type="sha-1">
      ` + three + `
    </pieces>
    <url location="de" priority="1">http://de/x.iso</url>
    <url location="fr" priority="2">http://fr/x.iso</url>
  </file>
</metalink>`, want: []string{"7: http://de/x.iso http://fr/x.iso out=x.iso sha256:" + hex64 + " size=700000 pieces=60*sha1/262144"}},
		{name: "MirrorBrain, Metalink 3", text: `<?xml version="1.0" encoding="UTF-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" origin="http://h/x.iso.metalink" generator="MirrorBrain" type="dynamic">
  <files>
    <file name="x.iso">
      <size>700000</size>
      <verification>
        <hash type="md5">` + hex32 + `</hash>
        <hash type="sha1">` + hex40 + `</hash>
        <pieces length="262144" type="sha1">
            <hash piece="0">` + hex40 + `</hash>
            <hash piece="1">` + hex40 + `</hash>
            <hash piece="2">` + hex40 + `</hash>
        </pieces>
        <signature type="pgp" file="x.iso.asc">-----BEGIN PGP SIGNATURE-----</signature>
      </verification>
      <resources>
        <url type="http" location="de" preference="100">http://de/x.iso</url>
      </resources>
    </file>
  </files>
</metalink>`, want: []string{"4: http://de/x.iso out=x.iso sha1:" + hex40 + " size=700000 pieces=60*sha1/262144"}},
		{name: "MirrorManager", text: `<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="https://www.metalinker.org" type="dynamic" generator="mirrormanager" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files>
  <file name="repomd.xml">
   <mm0:timestamp>1700000000</mm0:timestamp>
   <size>700</size>
   <verification><hash type="sha512">` + hex128 + `</hash>
    <pieces length="512" type="md5"><hash piece="0">` + hex32 + `</hash><hash piece="1">` + hex32 + `</hash></pieces></verification>
   <mm0:alternates><mm0:alternate><mm0:timestamp>1600000000</mm0:timestamp><size>600</size>
    <verification><hash type="md5">` + hex32 + `</hash></verification></mm0:alternate></mm0:alternates>
   <resources maxconnections="1">
    <url protocol="https" type="https" location="US" preference="100">https://us/repomd.xml</url>
   </resources>
  </file>
 </files>
</metalink>`, want: []string{"4: https://us/repomd.xml out=repomd.xml sha512:" + hex128 + " size=700 pieces=32*md5/512"}},
		{name: "the strongest of several", text: file(`<pieces length="9" type="sha-1">` + three + `</pieces><pieces length="9" type="SHA256"><hash>` + hex64 +
			`</hash></pieces><pieces length="9" type="md5"><hash>` + hex32 + `</hash></pieces>`), want: []string{plain + " pieces=32*sha256/9"}},
		{name: "an unknown algorithm", text: file(`<pieces length="9" type="tiger"><hash>zz</hash></pieces>`), want: []string{plain}},
		{name: "foreign markup", text: file(`<pieces length="9" type="md5"><f:hash xmlns:f="urn:f">zz</f:hash><hash>` + hex32 + `</hash></pieces>`), want: []string{plain + " pieces=16*md5/9"}},
		{name: "one wrong, one right", text: file(`<pieces length="0" type="sha-1">` + three + `</pieces><pieces length="9" type="md5"><hash>` + hex32 + `</hash></pieces>`), want: []string{plain + " pieces=16*md5/9"}},
		{name: "no length", text: file(`<pieces type="sha-1">` + three + `</pieces>`), want: []string{`? L:2: digests of pieces ignored: "" is no length of a piece`, plain}},
		{name: "no digest", text: file(`<pieces length="9" type="sha-1"/>`), want: []string{"? L:2: digests of pieces ignored: 0 bytes are no digests of sha1", plain}},
		{name: "an empty file", text: file(`<size>0</size><pieces length="9" type="sha-1"></pieces>`), want: []string{plain + " size=0"}},
		{name: "a short digest", text: file(`<pieces length="9" type="sha-1"><hash>00</hash></pieces>`), want: []string{
			`? L:2: digests of pieces ignored: checksum "sha1:00" does not have the 40 hex digits of sha1`, plain}},
		{name: "too few", text: file(`<size>28</size><pieces length="9" type="sha-1">` + three + `</pieces>`), want: []string{
			"? L:2: digests of pieces ignored: their number does not fit the size", plain + " size=28"}},
		{name: "another order", text: file(`<pieces length="9" type="md5"><hash piece="1">` + hex32 + `</hash></pieces>`), want: []string{
			`? L:2: digests of pieces ignored: piece "1" is not in its place`, plain}},
	})
}

// 100,000 digests fit into an entry. A list with more of them takes no more memory.
func TestReadPiecesBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies its time")
	}
	read := func(n int) (e Entry, text string) {
		list := metalink4Head + "<file name='x'><pieces length='1' type='sha-1'>" + strings.Repeat("<hash>"+hex40+"</hash>", n) + "</pieces><url>http://h/x</url></file></metalink>"
		for got, err := range Read("L", strings.NewReader(list), Options{}) {
			if err != nil {
				text += err.Error()
			} else {
				e = got
			}
		}
		return e, text
	}
	if e, text := read(100_000); e.Pieces.Size() != 2_000_000 || e.Len() < 2_000_000 || text != "" {
		t.Errorf("got %d bytes, problem %q", e.Pieces.Size(), text)
	}
	e, text := read(maxPieceBytes/20 + 1)
	if !e.Pieces.IsZero() || !strings.Contains(text, fmt.Sprint(maxPieceBytes)) {
		t.Errorf("got %d bytes, problem %q", e.Pieces.Size(), text)
	}
}
