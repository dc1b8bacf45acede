package queue

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
)

// TestOnEnd checks that OnEnd holds the place of a task, and that OnIdle comes once, after all of them.
func TestOnEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		var said []string
		say := func(text string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, text)
		}
		r.start(Options{
			Jobs: 2,
			OnEnd: func(task Task, res downloader.Result, err error) {
				time.Sleep(time.Second)
				say(fmt.Sprint(task.State, " ", res.Size, " ", err == nil))
			},
			OnIdle: func() { say("idle") },
		})
		begun := time.Now()
		for i := range 4 {
			r.add(Spec{URLs: []string{r.put(fmt.Sprint("f", i), 100)}})
		}
		r.add(Spec{URLs: []string{r.srv.URL + "/gone"}})
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if mu.Lock(); slices.Contains(said, "idle") {
				mu.Unlock()
				break
			}
			mu.Unlock()
		}
		if took := time.Since(begun); took < 3*time.Second {
			t.Errorf("five ends of a second each, two at a time, took %v", took)
		}
		slices.Sort(said[:5])
		done := "complete 100 true"
		if got := fmt.Sprint(said); got != fmt.Sprint([]string{done, done, done, done, "error -1 false", "idle"}) {
			t.Errorf("said %s", got)
		}

		// A pause is no end.
		r.srv.Set(faultserver.Rate(1 << 20))
		said = nil
		r.begin("slow")
		time.Sleep(time.Minute)
		if mu.Lock(); fmt.Sprint(said) != "[idle]" {
			t.Errorf("after a pause: %q", said)
		}
		mu.Unlock()
	})
}
