package aria2

import "testing"

func TestOptions(t *testing.T) {
	names, letters := make(map[string]bool), make(map[byte]bool)
	for _, o := range Options {
		if names[o.Name] || o.Short != 0 && letters[o.Short] {
			t.Errorf("%s or its letter is there twice", o.Name)
		}
		names[o.Name], letters[o.Short] = true, true
		if (o.Reason == "") != (o.Verdict == Translate) {
			t.Errorf("%s has the verdict %d and the reason %q", o.Name, o.Verdict, o.Reason)
		}
		if found, ok := Lookup(o.Name); !ok || found != o {
			t.Errorf("Lookup(%q) = %v, %v", o.Name, found, ok)
		}
	}
	if _, ok := Lookup("nonsense"); ok || len(Options) < 190 {
		t.Errorf("%d options, and nonsense is one: %v", len(Options), ok)
	}
}
