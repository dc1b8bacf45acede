package list_test

import (
	"fmt"
	"strings"

	"pawl/downloader/list"
)

// The format of a list is recognized by its content. A faulty line is reported, and reading
// continues after it.
func ExampleRead() {
	const text = `https://a.example/x.iso	https://b.example/x.iso
  out=iso/x.iso
  checksum=sha-256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
gopher://a.example/y.iso
https://a.example/z.iso
`
	for entry, err := range list.Read("files.txt", strings.NewReader(text), list.Options{}) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(entry.Line, len(entry.URLs), entry.URLs[0], entry.Out)
	}
	// Output:
	// 1 2 https://a.example/x.iso iso/x.iso
	// files.txt:4: "gopher://a.example/y.iso" is not an http or https URL
	// 5 1 https://a.example/z.iso
}
