package response

import (
	"testing"

	"pawl/chunk"
)

// One other version in a row is a change, several by turns are machines that disagree, and
// if the wanted version comes again in between, more conflicts are allowed.
func TestEvidence(t *testing.T) {
	version := map[rune]Version{}
	for _, c := range "ABCD" {
		version[c] = Version{Size: 5, ETag: `"` + string(c) + `"`}
	}
	tests := []struct {
		name      string
		abandoned string // versions
		responses string // versions; A is the wanted one
		want      Decision
	}{
		{"one other", "", "B", AskAgain},
		{"twice", "", "BB", AskAgain},
		{"a change", "", "BBB", StartOver},
		{"each time another", "", "BCD", OneStream},
		{"another in between", "", "BCB", OneStream},
		{"an abandoned one", "B", "BBB", OneStream},
		{"another one was abandoned", "C", "BBB", StartOver},
		{"a change after matches", "", "AAABBB", StartOver},
		{"by turns, with the wanted one among them", "", "BABABABABB", AskAgain},
		{"the wanted one is gone", "", "BA" + "BBBBBBBBBBBBBBBBBBB", AskAgain},
		{"gone for good", "", "BA" + "BBBBBBBBBBBBBBBBBBBB", StartOver},
		{"the wanted one", "", "A", Use},
		{"the wanted one again", "", "BBA", Use},
	}
	part := Request{Range: chunk.Range{End: 1}, Placed: true}
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

// Judge compares a response with the held version and with the place of its request.
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
		{"the same", part(want, middle), Request{Range: middle, Placed: true}, Use},
		{"without its tag", part(with(func(v *Version) { v.ETag = "" }), middle), Request{Range: middle, Placed: true}, Use},
		{"another tag", part(other, middle), Request{Range: middle, Placed: true}, AskAgain},
		{"another size", part(with(func(v *Version) { v.Size = 8 }), middle), Request{Range: middle}, AskAgain},
		{"another coding", part(with(func(v *Version) { v.Coding = "gzip" }), middle), Request{Range: middle}, Reject},
		{"the whole file for a middle", whole(want), Request{Range: middle, Placed: true}, Reject},
		{"the whole file for the first bytes", whole(want), Request{Range: first, Placed: true}, Use},
		{"the whole file, of another version", whole(other), Request{Range: first}, Use}, // its bytes are compared
		{"the whole file, as was requested", whole(other), Request{Placed: true}, Use},
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
		t.Error("a response of the wanted version leaves a doubt")
	}
	e.Judge(want, part(with(func(v *Version) { v.ETag = "" }), middle), Request{Range: middle})
	if !e.MissingETag() {
		t.Error("a response without the strong tag is not noted")
	}
	e.Judge(want, part(other, middle), Request{Range: middle})
	if !e.Uncertain() {
		t.Error("a conflict leaves no doubt")
	}
}

func TestJudgeUnsatisfiable(t *testing.T) {
	want, r := Version{Size: 9}, Request{Range: chunk.Range{Off: 5, End: 9}}
	for size, decision := range map[int64]Decision{-1: Reject, 9: Reject, 5: AskAgain} {
		var e Evidence
		if got, _ := e.JudgeUnsatisfiable(want, Content{Meaning: Unsatisfiable, Version: Version{Size: size}}, r); got != decision {
			t.Errorf("size %d: got %d, want %d", size, got, decision)
		}
	}
}
