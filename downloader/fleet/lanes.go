package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// hashLanes is the number of lanes that hosts without a rule of their own share. With half of
// them, a worker has to hold places of more hosts that it does not ask; double costs the broker
// another 64 consumers in each run.
const hashLanes = 64

// HostPort returns the host and port that are dialed for u, for example "example.org:443".
func HostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// hashLane returns the lane of a host and port without a rule: "h00" to "h63", by the first byte
// of the SHA-256 of both. All processes of a fleet must agree on it.
func hashLane(hostPort string) string {
	return fmt.Sprintf("h%02d", sha256.Sum256([]byte(hostPort))[0]%hashLanes)
}

// isHashLane reports whether hosts without a rule of their own share a lane.
func isHashLane(lane string) bool { return strings.HasPrefix(lane, "h") }

// ruleLane returns the lane of the hosts for which r is the most exact rule, for example
// "r-4f2b0c9d11aa37e5". It is valid as a token of a subject and as a part of a key.
func ruleLane(r HostLimit) string {
	sum := sha256.Sum256([]byte(r.pattern()))
	return "r-" + hex.EncodeToString(sum[:8])
}
