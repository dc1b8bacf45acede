package fleet

import "testing"

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		v    string
		want bool
	}{
		{"2.9.10", true}, {"2.10.27", true}, {"1.4.1", true}, {"2.10.0-beta.1", true},
		{"2.11.0", false}, {"2.11.0-RC.1", false}, {"2.15.3", false}, {"2.100.0", false}, {"3.0.0", false}, {"", false}, {"dev", false},
	} {
		if got := older(c.v, oldestNATS); got != c.want {
			t.Errorf("older(%q): got %v, want %v", c.v, got, c.want)
		}
	}
}
