package transport

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestNetwork: errors that a missing network may cause mean that it is down if there is no
// route, unless hosts respond without one. Only the first is reported until a host responds.
func TestNetwork(t *testing.T) {
	unreachable := &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
	noServer, noName := &net.DNSError{Err: "server misbehaving"}, &net.DNSError{IsNotFound: true}
	const none, respond, lost, back = "none", "respond", "lost", "back" // before an error
	type step struct {
		before      string
		err         error
		down, first bool
	}
	tests := []struct {
		name  string
		wait  bool
		route bool // at the start
		steps []step
	}{
		{"never a network", true, false, []step{{none, unreachable, true, true}, {none, noServer, true, false}, {none, noName, false, false}, {none, errors.New("other"), false, false}}},
		{"lost", true, true, []step{{respond, unreachable, false, false}, {lost, unreachable, true, true}, {none, unreachable, true, false}, {back, unreachable, false, false}}},
		{"lost twice", true, true, []step{{lost, unreachable, true, true}, {respond, unreachable, true, true}, {none, unreachable, true, false}}},
		{"only the machine itself", true, false, []step{{respond, unreachable, false, false}}},
		{"itself, then a network, then none", true, false, []step{{respond, unreachable, false, false}, {back, unreachable, false, false}, {lost, unreachable, true, true}}},
		{"not to be waited for", false, false, []step{{none, unreachable, false, false}}},
	}
	for _, tt := range tests {
		route := tt.route
		n := newNetwork(tt.wait, func() bool { return route })
		for i, s := range tt.steps {
			switch s.before {
			case respond:
				n.Responded()
			case lost:
				route = false
			case back:
				route = true
			}
			if down, first := n.IsDown(s.err); down != s.down || first != s.first {
				t.Errorf("%s, step %d: got %v, %v, want %v, %v", tt.name, i+1, down, first, s.down, s.first)
			}
		}
	}
}
