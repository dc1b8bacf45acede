package chunk_test

import (
	"fmt"

	"pawl/chunk"
)

// A set says which bytes of a file are here, and which are missing.
func ExampleSet() {
	var held chunk.Set
	held.Add(chunk.Range{Off: 0, End: 100})
	held.Add(chunk.Range{Off: 300, End: 400})
	held.Add(chunk.Range{Off: 100, End: 150}) // touches the first range
	for r := range held.Missing(chunk.Range{Off: 0, End: 500}) {
		fmt.Println("missing", r.Off, "to", r.End)
	}
	fmt.Println(held.Len(), "bytes:", held)
	// Output:
	// missing 150 to 300
	// missing 400 to 500
	// 250 bytes: 0+150,300+100
}

// The text form is stored in records. It is the only one of a set.
func ExampleSet_UnmarshalText() {
	var held chunk.Set
	fmt.Println(held.UnmarshalText([]byte("0+150,300+100")), held.Prefix())
	fmt.Println(held.UnmarshalText([]byte("0+150,100+100")) != nil)
	// Output:
	// <nil> 150
	// true
}
