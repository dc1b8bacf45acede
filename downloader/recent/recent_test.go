package recent

import (
	"fmt"
	"testing"
)

// TestMap: idle values are forgotten if there are many, unless they were used lately; others
// stay.
func TestMap(t *testing.T) {
	type value struct{ busy bool }
	m := NewMap(func(v *value) bool { return !v.busy })
	newValue := func() *value { return new(value) }
	busy, used := m.Get("busy", newValue), m.Get("used", newValue)
	busy.busy = true
	for i := range 50 * MaxIdle {
		m.Get(fmt.Sprint(i), newValue)
		m.Get("used", newValue)
		if n := m.Len(); n > 2*MaxIdle+2 {
			t.Fatalf("%d values are remembered", n)
		}
	}
	if m.Get("busy", newValue) != busy || m.Get("used", newValue) != used {
		t.Error("a busy value or a recent one was forgotten")
	}
	if _, ok := m.Peek("0"); ok {
		t.Error("an old idle value is remembered")
	}
}

// TestMapAllBusy: busy values are not forgotten, however many there are.
func TestMapAllBusy(t *testing.T) {
	m := NewMap(func(int) bool { return false })
	const n = 5 * MaxIdle
	for i := range n {
		m.Get(fmt.Sprint(i), func() int { return i })
	}
	sum := 0
	for v := range m.All() {
		sum += v
	}
	if v, ok := m.Peek("7"); m.Len() != n || sum != n*(n-1)/2 || v != 7 || !ok {
		t.Errorf("got %d values, sum %d, %d for 7, want %d, %d, 7", m.Len(), sum, v, n, n*(n-1)/2)
	}
}
