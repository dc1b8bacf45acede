package store

import (
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pawl/chunk"
)

// fullRecord returns a record without a zero field.
func fullRecord(t testing.TB) Record {
	t.Helper()
	target, err := filepath.Abs("/downloads/größe \"1\"\n.bin")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := chunk.ParseSum("md5:d41d8cd98f00b204e9800998ecf8427e")
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", 5*3600+1800))
	return Record{
		ID: NewID(), URL: "https://example.com/a?b=c&d=<e>", Target: target, Size: 1 << 40,
		Type: "text/html", Lists: Lists{Nameless, "0123456789abcdef"}, ETag: `W/"x"`, LastModified: "Thu, 29 Feb 2024 23:59:59 GMT", Public: true, Named: true, NoRanges: true, Unframed: true, Coding: "gzip", Mixed: true, Mirrors: []string{"https://b.example/a"},
		Held:        chunk.NewSet(chunk.Range{Off: 0, End: 10}, chunk.Range{Off: 1 << 39, End: 1 << 40}),
		Credentials: []string{"-u"}, State: Failed, Reason: "it broke", Rate: 12345, Process: Process{42, "boot/1"}, PartNumber: 3, Root: "/downloads", Control: "/downloads/x.aria2",
		PieceLength: 1 << 24, ChangeTime: when.Add(time.Minute), Sum: sum, ServerSum: sum, Replace: true, Repairs: FileStamp{77, when.Add(-time.Minute)}, Created: when, Updated: when.Add(time.Second), ModTime: when.Add(-time.Hour),
	}
}

// sameRecord reports whether two records are equal, apart from the time zones of their
// times.
func sameRecord(a, b Record) bool {
	times := a.Created.Equal(b.Created) && a.Updated.Equal(b.Updated) && a.ModTime.Equal(b.ModTime) && a.ChangeTime.Equal(b.ChangeTime)
	held := a.Held.Equal(b.Held) && a.Repairs.Size == b.Repairs.Size && a.Repairs.ModTime.Equal(b.Repairs.ModTime)
	for _, r := range []*Record{&a, &b} {
		r.Created, r.Updated, r.ModTime, r.ChangeTime, r.Held, r.Repairs = time.Time{}, time.Time{}, time.Time{}, time.Time{}, chunk.Set{}, FileStamp{}
	}
	return times && held && reflect.DeepEqual(a, b)
}

func TestRecordRoundTrip(t *testing.T) {
	full := fullRecord(t)
	for v, i := reflect.ValueOf(full), 0; i < v.NumField(); i++ {
		if field := v.Type().Field(i); v.Field(i).IsZero() && field.Tag.Get("json") != "-" {
			t.Errorf("field %s is zero; give it a value", v.Type().Field(i).Name)
		}
	}
	least := Record{ID: NewID(), Target: full.Target}
	unknown := Record{ID: NewID(), Target: full.Target, Size: -1, Held: full.Held}
	for _, rec := range []Record{full, least, unknown} {
		data, err := rec.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(data)
		if err != nil || !sameRecord(got, rec) {
			t.Errorf("round trip: got %+v, %v, want %+v", got, err, rec)
		}
	}
}

// Any text field may contain bytes that are not UTF-8, and keeps them. All other records
// are stored as before.
func TestRecordBytes(t *testing.T) {
	full := fullRecord(t)
	const bytes = "caf\xe9 \xff\xed\xa0\x80 \ufffd é"
	texts := len(full.Texts())
	for i := range texts {
		rec := fullRecord(t)
		*rec.Texts()[i] += bytes
		sealed, err := rec.encode()
		must(t, err)
		if got, err := decodeRecord(sealed); err != nil || !sameRecord(got, rec) {
			t.Errorf("text %d: got %+v, %v, want %+v", i, got, err, rec)
		}
	}
	of := make(map[*string]bool) // so that no text field is missing from the test
	for _, text := range full.Texts() {
		of[text] = true
	}
	for v, i := reflect.ValueOf(&full).Elem(), 0; i < v.NumField(); i++ {
		name := v.Type().Field(i).Name
		if text, ok := v.Field(i).Addr().Interface().(*string); ok && !of[text] {
			t.Errorf("field %s is none of Texts", name)
		}
	}
	full.Target += "\ufffd"
	sealed, err := full.encode()
	must(t, err)
	data, err := json.Marshal(struct {
		V int `json:"v"`
		*Record
	}{recordVersion, &full})
	must(t, err)
	if string(sealed) != string(addChecksum(data)) {
		t.Errorf("a record that is UTF-8: got %q, want %q", sealed, data)
	}
}

// A damaged index key may lead to the record of another target. Such a path counts as not on
// record.
func TestIndexLeadsElsewhere(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	rec := Record{ID: NewID(), Target: filepath.Join(t.TempDir(), "a.bin"), State: Paused}
	target := filepath.Join(filepath.Dir(rec.Target), "b.bin")
	must(t, s.write(func(t tx) error {
		if err := t.put(&rec); err != nil {
			return err
		}
		return t.Bucket(targetBucket).Put([]byte(target), []byte(rec.ID))
	}))
	if got, err := s.ByTarget(target); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %+v, %v, want %v", got, err, ErrNotFound)
	}
	if got, err := s.Get(rec.ID); err != nil || got.Target != rec.Target {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A new field must be a decision: no header field, password or cookie may be in a record.
func TestRecordKeys(t *testing.T) {
	rec := fullRecord(t)
	sealed, err := rec.encode()
	must(t, err)
	data, err := checkChecksum(sealed)
	must(t, err)
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(fields))
	want := strings.Fields("coding control created credentials etag held id last_modified list mirrors mixed modtime named no_ranges part piece process public rate reason repairs replace root server_sum size state sum target touched type unframed updated url v")
	if !slices.Equal(got, want) {
		t.Errorf("keys: got %q, want %q", got, want)
	}
	const ofEntries = 3 // number of fields of finished files only
	if n := reflect.TypeFor[Record]().NumField() - ofEntries; n != len(want)-1 {
		t.Errorf("fields: got %d, want %d, each with its key", n, len(want)-1)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	full := fullRecord(t)
	// edit returns the encoded record with some fields replaced; nil deletes a field.
	edit := func(changes map[string]any) string {
		sealed, err := full.encode()
		must(t, err)
		data, err := checkChecksum(sealed)
		must(t, err)
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		for key, value := range changes {
			if fields[key] = value; value == nil {
				delete(fields, key)
			}
		}
		if data, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if _, err := decodeRecord(addChecksum([]byte(edit(nil)))); err != nil {
		t.Fatalf("unchanged: got %v", err)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"no JSON":           "nonsense",
		"null":              "null",
		"a list":            "[]",
		"empty":             "{}",
		"cut":               edit(nil)[:100],
		"more after it":     edit(nil) + "{}",
		"no version":        edit(map[string]any{"v": nil}),
		"version 0":         edit(map[string]any{"v": 0}),
		"version -1":        edit(map[string]any{"v": -1}),
		"no id":             edit(map[string]any{"id": nil}),
		"no target":         edit(map[string]any{"target": nil}),
		"relative target":   edit(map[string]any{"target": "file"}),
		"size -2":           edit(map[string]any{"size": -2}),
		"size too big":      edit(map[string]any{"size": 1e19}),
		"held beyond size":  edit(map[string]any{"held": "0+10", "size": 9}),
		"held not in order": edit(map[string]any{"held": "5+1,0+1"}),
		"held below zero":   edit(map[string]any{"held": "-5+1"}),
		"relative raw":      edit(map[string]any{"raw": []string{"", "eA=="}}), // the mirror, and the target "x"
		"raw no list":       edit(map[string]any{"raw": "L3g="}),
		"held no text":      edit(map[string]any{"held": 5}),
		"sum":               edit(map[string]any{"sum": "md5:00"}),
		"time":              edit(map[string]any{"created": "yesterday"}),
	} {
		if rec, err := decodeRecord(addChecksum([]byte(text))); err == nil {
			t.Errorf("%s: got %+v, want an error", name, rec)
		} else if errors.Is(err, ErrNewer) {
			t.Errorf("%s: got %v, want another error", name, err)
		}
	}
	if _, err := decodeRecord(addChecksum([]byte(edit(map[string]any{"v": 3, "target": nil})))); !errors.Is(err, ErrNewer) {
		t.Errorf("newer version: got %v, want %v", err, ErrNewer)
	}
	// An unknown field comes from a version that considers it harmless.
	if _, err := decodeRecord(addChecksum([]byte(edit(map[string]any{"color": "red"})))); err != nil {
		t.Errorf("unknown field: got %v, want none", err)
	}
}

func TestNewID(t *testing.T) {
	seen := map[ID]bool{}
	for range 1000 {
		id := NewID()
		if len(id) != 16 || strings.Trim(string(id), "0123456789abcdef") != "" || seen[id] {
			t.Fatalf("got %q, want 16 hex digits, new ones", id)
		}
		seen[id] = true
	}
}

// A record that can be read can be written, and is then equal.
func FuzzDecodeRecord(f *testing.F) {
	full := fullRecord(f)
	data, err := full.encode()
	if err != nil {
		f.Fatal(err)
	}
	text, err := checkChecksum(data)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, true)
	f.Add(data, false)
	target, _ := json.Marshal(full.Target)
	for _, more := range []string{
		``, `,"size":-1,"held":"5+7"`, `,"held":null`, `,"sum":""`, `,"ID":"y","STATE":"x"`, `,"url":"\ud800"`,
		`,"modtime":"0001-01-01T01:00:00+01:00"`, `,"created":"9999-12-31T23:59:59-23:59"`,
		`,"created":"0000-01-01T00:00:00+23:59"`, `,"raw":["L2NhZuk=","/w==","","","","",""]`, `,"raw":[]`, `,"mirrors":["a"],"raw":["L3g=","","","","","","","6Q=="]`, `,"size":9223372036854775807,"held":"0+9223372036854775807"`,
	} {
		f.Add([]byte(`{"v":1,"id":"x","target":`+string(target)+more+`}`), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed { // else the checksum would reject nearly all inputs
			data = addChecksum(data)
		}
		rec, err := decodeRecord(data)
		if err != nil {
			return
		}
		again, err := rec.encode()
		if err != nil {
			t.Fatalf("%q is read, but not written: %v", data, err)
		}
		if got, err := decodeRecord(again); err != nil || !sameRecord(got, rec) {
			t.Errorf("%q becomes %q: got %+v, %v, want %+v", data, again, got, err, rec)
		}
	})
}
