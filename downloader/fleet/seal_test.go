package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"

	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

func TestSeal(t *testing.T) {
	sealer, err := NewSealer(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealer(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		urls   []string
		header http.Header
		secret bool
	}{
		"nothing":  {[]string{"https://example.org/f?x=a@b"}, nil, false},
		"header":   {[]string{"https://example.org/f"}, http.Header{"Authorization": {"Bearer hunter2"}, "X-\xff": {"\xfe"}}, true},
		"userinfo": {[]string{"https://example.org/f", "https://joe:hunter2@m.example.org/f"}, nil, true},
		"user":     {[]string{"ftp://hunter2@example.org/f"}, nil, true},
		"broken":   {[]string{"https://joe:hunter2%@example.org/f"}, nil, true},
		"slash":    {[]string{"https://joe:hun/ter2@example.org/f"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			entry := list.Entry{URLs: tt.urls, Header: tt.header, Size: 5}
			fresh := func() Item {
				it := Item{File: mirror.Item{Entry: entry, Path: "f"}}
				it.ID = it.File.Key()
				return it
			}
			it := fresh()
			if err := sealer.Seal("r", &it); err != nil || (len(it.Sealed) > 0) != tt.secret {
				t.Fatalf("%v, %d bytes sealed", err, len(it.Sealed))
			}
			if !reflect.DeepEqual(entry, fresh().File.Entry) {
				t.Error("the original has changed")
			}
			data, err := json.Marshal(&it)
			if err != nil || bytes.Contains(data, []byte("hunter2")) || bytes.Contains(data, []byte("ter2")) {
				t.Errorf("%s, %v", data, err)
			}
			var got Item
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if !tt.secret {
				return
			}
			moved := got
			moved.File.Entry.URLs = []string{"https://evil.example/f", "https://evil.example/g"}
			for wrong, err := range map[string]error{
				"no key": (*Sealer)(nil).Open("r", &got), "other key": other.Open("r", &got), "other run": sealer.Open("r2", &got), "other entry": sealer.Open("r", &moved),
			} {
				if !errors.Is(err, ErrKey) {
					t.Errorf("%s: %v", wrong, err)
				}
			}
			if err := sealer.Open("r", &got); err != nil {
				t.Fatal(err)
			}
			if got.Sealed != nil || !reflect.DeepEqual(got.File.Entry.URLs, tt.urls) || len(got.File.Entry.Header) != len(tt.header) {
				t.Errorf("got %+v", got.File.Entry)
			}
			if it := fresh(); !errors.Is((*Sealer)(nil).Seal("r", &it), ErrSecrets) {
				t.Error("sealed without a key")
			}
		})
	}
	if _, err := NewSealer([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}
