package mirror

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/list"
	"pawl/store"
)

// TestItemRoundTrip: UnmarshalJSON restores all fields that MarshalJSON has stored, also texts that are not
// UTF-8.
func TestItemRoundTrip(t *testing.T) {
	sum, err := chunk.ParseSum("md5:00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := chunk.NewPieceHashes("sha1", 4, []byte(strings.Repeat("\x00\xff", 20)))
	if err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1e9, 7).UTC()
	for _, text := range []string{"plain", "caf\xe9 \xff"} {
		want := Item{
			Entry: list.Entry{
				URLs: []string{"http://a/" + text, "http://b/"}, Out: text, Dir: "d" + text, Sum: sum, Pieces: pieces, Size: 5, List: text, Line: 7,
				Header: http.Header{"A": {text, "x"}, "B": {"y" + text}},
			},
			List: text, Path: "/d/" + text, Rounds: 2, LastError: "why " + text,
			Record: store.Record{
				ID: "0123456789abcdef", URL: text, Target: "/d/" + text, Public: true, Named: true, Size: 5, ETag: text, LastModified: text, Type: text,
				Coding: "gzip", Mirrors: []string{text}, Mixed: true, NoRanges: true, Unframed: true, Held: chunk.NewSet(chunk.Range{End: 5}), PieceLength: 3, ChangeTime: when, Credentials: []string{"-u USER"}, State: store.Done, Reason: text, Rate: 4, Process: store.Process{PID: 1, Start: "boot/1"}, PartNumber: 2, Root: text, Control: text, Sum: sum, ServerSum: sum,
				Replace: true, Repairs: store.FileStamp{Size: 4, ModTime: when}, Lists: store.Lists{store.Nameless, "0123456789abcdef"}, Created: when, Updated: when, ModTime: when, CRC: 9, Publishing: true, Replaces: store.FileStamp{Size: 3, ModTime: when},
			},
		}
		for v, i := reflect.ValueOf(want.Record), 0; i < v.NumField(); i++ {
			if v.Field(i).IsZero() {
				t.Errorf("field %s is zero; give it a value", v.Type().Field(i).Name)
			}
		}
		b, err := want.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var got Item
		if err := got.UnmarshalJSON(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}
