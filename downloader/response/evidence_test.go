package response

import (
	"testing"

	"pawl/chunk"
)

// Consecutive responses of one other version mean that the file has changed, responses of
// several other versions that machines disagree. If the wanted version comes in between, more
// conflicts are allowed.
func TestEvidence(t *testing.T) {
	version := map[rune]Version{'0': {Size: 4, ETag: `"0"`}}
	for _, c := range "ABCD" {
		version[c] = Version{Size: 5, ETag: `"` + string(c) + `"`}
	}
	for _, c := range "678" { // later versions of a growing file
		version[c] = Version{Size: int64(c - '0'), ETag: `"` + string(c) + `"`}
	}
	tests := []struct {
		name      string
		abandoned string // versions that the download gave up before
		responses string // versions; A is the wanted one
		want      Decision
	}{
		{"one conflict", "", "B", AskAgain},
		{"two conflicts", "", "BB", AskAgain},
		{"three conflicts", "", "BBB", StartOver},
		{"three different versions", "", "BCD", OneStream},
		{"two different versions", "", "BCB", OneStream},
		{"an abandoned version again", "B", "BBB", OneStream},
		{"another version was abandoned", "C", "BBB", StartOver},
		{"three conflicts after matches", "", "AAABBB", StartOver},
		{"alternating with the wanted version", "", "BABABABABB", AskAgain},
		{"nineteen conflicts after alternating", "", "BA" + "BBBBBBBBBBBBBBBBBBB", AskAgain},
		{"twenty conflicts after alternating", "", "BA" + "BBBBBBBBBBBBBBBBBBBB", StartOver},
		{"each longer", "", "667", Growing},
		{"each longer, out of order", "", "768", Growing},
		{"longer ones of one version", "", "666", StartOver},
		{"longer ones, after a shorter one was abandoned", "0", "666", Growing},
		{"longer ones, after a growth", "", "6677", Growing},
		{"longer and shorter ones", "", "606", OneStream},
		{"the wanted version", "", "A", Use},
		{"the wanted version after conflicts", "", "BBA", Use},
	}
	part := Request{Range: chunk.Range{End: 1}, InTransfer: true}
	for _, tt := range tests {
		var e Evidence
		for _, c := range tt.abandoned {
			e.Abandoned(version[c])
		}
		var got Decision
		for _, c := range tt.responses {
			got, _ = e.Judge(version['A'], Content{Range: part.Range, Version: version[c]}, part)
		}
		if got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A stream of a growing file has all of its version, so a new attempt may use it. Within a transfer,
// its length is fixed.
func TestGrowing(t *testing.T) {
	want := Version{Size: 5}
	longer := Content{Whole: true, Version: Version{Size: 7}}
	for _, tt := range []struct {
		name    string
		grows   bool
		got     Content
		request Request
		want    Decision
	}{
		{"not known to grow", false, longer, Request{}, AskAgain},
		{"longer", true, longer, Request{}, Use},
		{"longer, within a transfer", true, longer, Request{InTransfer: true}, Growing},
		{"shorter", true, Content{Whole: true, Version: Version{Size: 4}}, Request{}, AskAgain},
	} {
		e := Evidence{growing: tt.grows}
		if got, _ := e.Judge(want, tt.got, tt.request); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Judge compares a response with the wanted version and with the requested range.
func TestJudge(t *testing.T) {
	want := Version{Size: 9, ETag: `"a"`, MediaType: "application/zip"}
	with := func(change func(*Version)) Version {
		v := want
		change(&v)
		return v
	}
	first, middle := chunk.Range{End: 5}, chunk.Range{Off: 5, End: 9}
	part := func(v Version, r chunk.Range) Content { return Content{Range: r, Version: v} }
	whole := func(v Version) Content { return Content{Whole: true, Range: chunk.Range{End: 9}, Version: v} }
	other := with(func(v *Version) { v.ETag = `"b"` })
	tests := []struct {
		name    string
		got     Content
		request Request
		want    Decision
	}{
		{"the wanted version", part(want, middle), Request{Range: middle, InTransfer: true}, Use},
		{"without ETag", part(with(func(v *Version) { v.ETag = "" }), middle), Request{Range: middle, InTransfer: true}, Use},
		{"another ETag", part(other, middle), Request{Range: middle, InTransfer: true}, AskAgain},
		{"another size", part(with(func(v *Version) { v.Size = 8 }), middle), Request{Range: middle}, AskAgain},
		{"another coding", part(with(func(v *Version) { v.Coding = "gzip" }), middle), Request{Range: middle}, Reject},
		{"the whole file for a range in the middle", whole(want), Request{Range: middle, InTransfer: true}, Reject},
		{"the whole file for the first bytes", whole(want), Request{Range: first, InTransfer: true}, Use},
		{"the whole file, of another version", whole(other), Request{Range: first}, Use}, // its bytes are compared with the held ones
		{"the whole file, as requested", whole(other), Request{InTransfer: true}, Use},
		{"the whole file after If-Range", whole(other), Request{Range: first, Conditional: true}, AskAgain},
		{"the whole file, of another size", whole(with(func(v *Version) { v.Size = 8 })), Request{}, AskAgain},
		{"a web page", whole(Version{Size: 9, MediaType: "text/html"}), Request{}, Page},
		{"without validator, of another size", whole(Version{Size: 8}), Request{}, Substitute},
	}
	for _, tt := range tests {
		var e Evidence
		if got, reason := e.Judge(want, tt.got, tt.request); got != tt.want {
			t.Errorf("%s: got %d (%s), want %d", tt.name, got, reason, tt.want)
		}
	}
	var e Evidence
	e.Judge(want, part(want, middle), Request{Range: middle})
	if e.MissingETag() || e.Uncertain() {
		t.Error("after a response of the wanted version: got MissingETag or Uncertain")
	}
	e.Judge(want, part(with(func(v *Version) { v.ETag = "" }), middle), Request{Range: middle})
	if !e.MissingETag() {
		t.Error("after a response without the strong ETag: got MissingETag false, want true")
	}
	e.Judge(want, part(other, middle), Request{Range: middle})
	if !e.Uncertain() {
		t.Error("after a conflict: got Uncertain false, want true")
	}
}

// A 416 for held bytes is a lie, unless it has another size.
func TestJudgeUnsatisfiable(t *testing.T) {
	want, r := Version{Size: 9}, Request{Range: chunk.Range{Off: 5, End: 9}}
	for size, decision := range map[int64]Decision{-1: Reject, 9: Reject, 5: AskAgain} {
		var e Evidence
		if got, _ := e.JudgeUnsatisfiable(want, Content{Meaning: Unsatisfiable, Version: Version{Size: size}}, r); got != decision {
			t.Errorf("size %d: got %d, want %d", size, got, decision)
		}
	}
}
