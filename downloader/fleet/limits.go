package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

const (
	// defaultConnections is the limit of connections to a host without a rule, by all processes
	// together. One process without a fleet has the same limit.
	defaultConnections = 16
	// maxPlaces is the most places of a lane. A place is a key of the broker: with half of them,
	// half as many workers can share a lane; double doubles the writes of a worker alone.
	maxPlaces = 64
	// ratePerPlace is the most requests per second for one place of a lane. At half of it, more
	// workers share a host with a rate; double is more than a worker with few files can use.
	ratePerPlace = 50
	// maxRules limits the rules of one owner, because each is a lane with a consumer of its own.
	maxRules = 256

	placesBucket = "PAWL_PLACES"
	limitsKey    = "limits"
)

// A Limit limits the load of all processes together on one host and port.
type Limit struct {
	Connections int     // open at the same time
	Rate        float64 // requests per second; 0 for no limit
}

// stricter returns the lower one of each limit, where 0 is none.
func (l Limit) stricter(o Limit) Limit {
	if l.Connections == 0 || o.Connections != 0 && o.Connections < l.Connections {
		l.Connections = o.Connections
	}
	if l.Rate == 0 || o.Rate != 0 && o.Rate < l.Rate {
		l.Rate = o.Rate
	}
	return l
}

// places returns into how many places the limit is divided.
func (l Limit) places() int {
	n := min(l.Connections, maxPlaces)
	if l.Rate > 0 {
		n = min(n, int(min(maxPlaces, math.Ceil(l.Rate/ratePerPlace))))
	}
	return n
}

// worth returns how many connections to each host of the lane place i allows. The places that
// there are allow Connections together.
func (l Limit) worth(i int) int {
	n := l.places()
	if i < 0 || i >= n {
		return 0
	}
	worth := l.Connections / n
	if i < l.Connections%n {
		worth++
	}
	return worth
}

// placeRate returns the requests per second of one place; 0 for no limit.
func (l Limit) placeRate() float64 { return l.Rate / float64(l.places()) }

// A HostLimit is a rule: the limit of some hosts. Its text is one of
//
//	HOST=N          connections to each port of HOST
//	HOST=N,R/s      and requests per second
//	HOST=R/s        requests per second
//
// HOST is a name, an address, either with a port, *.DOMAIN for all hosts below a domain, or * for
// all hosts without another rule.
type HostLimit struct {
	name string // in lower case, in ASCII; "" for all hosts; with a dot first for all hosts below
	port string // "" for all ports
	Limit
}

// UnmarshalText parses a rule.
func (r *HostLimit) UnmarshalText(text []byte) error {
	host, limit, ok := strings.Cut(strings.TrimSpace(string(text)), "=")
	if !ok {
		return fmt.Errorf("%q is not a limit such as example.org=8, example.org=8,5/s or *.example.org=5/s", text)
	}
	var err error
	if *r, err = parsePattern(host); err != nil {
		return err
	}
	r.Limit, err = parseLimit(limit)
	return err
}

// parsePattern parses the part of a rule that says which hosts it is for.
func parsePattern(text string) (HostLimit, error) {
	if text == "*" {
		return HostLimit{}, nil
	}
	var r HostLimit
	r.name = text
	if addr, err := netip.ParseAddr(text); err == nil { // an IPv6 address needs no brackets here
		r.name = addr.String()
		return r, nil
	}
	if host, port, err := net.SplitHostPort(text); err == nil {
		r.name, r.port = host, port
	} else {
		r.name = strings.TrimSuffix(strings.TrimPrefix(r.name, "["), "]")
	}
	domain, isDomain := strings.CutPrefix(r.name, "*.")
	if isDomain && r.port != "" {
		return r, fmt.Errorf("%q is for all hosts of a domain, and cannot have a port", text)
	}
	name, err := hostName(domain)
	if err != nil || strings.Contains(r.port, "/") {
		return r, fmt.Errorf("%q is not a host such as example.org, *.example.org or example.org:8080", text)
	}
	if n, err := strconv.ParseUint(r.port, 10, 16); r.port != "" && (err != nil || n == 0) {
		return r, fmt.Errorf("%q has a port that is not a number from 1 to 65535", text)
	}
	r.name = name
	if isDomain {
		r.name = "." + name
	}
	return r, nil
}

// hostName returns a name or an address as it is dialed: in lower case, in ASCII, without a dot at
// its end.
func hostName(text string) (string, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		name = ascii
	}
	isOther := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c)
	}
	if name == "" || name[0] == '.' || strings.Contains(name, "..") || strings.ContainsFunc(name, isOther) {
		return "", errors.New("not a host")
	}
	return name, nil
}

// parseLimit parses N, N,R/s or R/s.
func parseLimit(text string) (l Limit, err error) {
	for field := range strings.SplitSeq(text, ",") {
		number, isRate := strings.CutSuffix(strings.TrimSpace(field), "/s")
		switch {
		case isRate && l.Rate == 0:
			l.Rate, err = strconv.ParseFloat(number, 64)
			if err != nil || !(l.Rate >= 1e-6 && l.Rate <= 1e6) { // not for NaN
				return l, fmt.Errorf("%q is not a number of requests per second such as 5/s or 0.5/s", field)
			}
		case !isRate && l.Connections == 0 && l.Rate == 0:
			l.Connections, err = strconv.Atoi(number)
			if err != nil || l.Connections < 1 || l.Connections > 1e6 {
				return l, fmt.Errorf("%q is not a number of connections, which is at least 1, nor a rate such as 5/s", field)
			}
		default:
			return l, fmt.Errorf("%q is not a limit such as 8, 5/s or 8,5/s", text)
		}
	}
	return l, nil
}

// MarshalText returns the text of a rule.
func (r HostLimit) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns the text of a rule, for example "*.example.org=8,5/s".
func (r HostLimit) String() string {
	var fields []string
	if r.Connections > 0 {
		fields = append(fields, strconv.Itoa(r.Connections))
	}
	if r.Rate > 0 {
		fields = append(fields, strconv.FormatFloat(r.Rate, 'f', -1, 64)+"/s")
	}
	return r.pattern() + "=" + strings.Join(fields, ",")
}

// pattern returns the hosts of a rule as text.
func (r HostLimit) pattern() string {
	switch {
	case r.name == "":
		return "*"
	case r.name[0] == '.':
		return "*" + r.name
	case r.port != "":
		return net.JoinHostPort(r.name, r.port)
	default:
		return r.name
	}
}

// covers reports whether the rule is for all hosts of o. Of two rules for the same host, one covers
// the other.
func (r HostLimit) covers(o HostLimit) bool {
	switch {
	case r.name == "":
		return true
	case r.name[0] == '.':
		return strings.HasSuffix(o.name, r.name)
	default:
		return r.name == o.name && (r.port == "" || r.port == o.port)
	}
}

// exactly returns a rule for one host and port.
func exactly(hostPort string) HostLimit {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	if name, err := hostName(host); err == nil {
		host = name
	}
	return HostLimit{name: host, port: port}
}

// hostPort returns the host and port that the result of exactly is for.
func (r HostLimit) hostPort() string { return net.JoinHostPort(r.name, r.port) }

// HostLimits are the rules of one owner. Of those for a host, the most exact one holds.
type HostLimits []HostLimit

// find returns the most exact rule that covers r, nil if there is none. Of two equal ones the last
// one counts.
func (h HostLimits) find(r HostLimit) (best *HostLimit) {
	for i := range h {
		if h[i].covers(r) && (best == nil || best.covers(h[i])) {
			best = &h[i]
		}
	}
	return best
}

// Limits are the rules of all owners: runs, and the administrator. Each host has the strictest of
// the limits that the owners have for it; an owner without a rule for it does not count. The zero
// value has no rules.
type Limits struct {
	owners map[string]HostLimits // immutable
}

// storedLimits is the form in which Limits are stored.
type storedLimits struct {
	Version int                   `json:"v"`
	Rules   map[string]HostLimits `json:"rules,omitempty"` // by owner
}

// For returns the limit of a host and port, for example "example.org:443".
func (l Limits) For(hostPort string) Limit { return l.of(exactly(hostPort)) }

// of returns the limit of the hosts of r.
func (l Limits) of(r HostLimit) Limit {
	var all Limit
	for _, rules := range l.owners {
		if rule := rules.find(r); rule != nil {
			all = all.stricter(rule.Limit)
		}
	}
	all.Connections = cmp.Or(all.Connections, defaultConnections)
	return all
}

// Lane returns the lane of a host and port.
func (l Limits) Lane(hostPort string) string {
	r := exactly(hostPort)
	var best *HostLimit
	for _, rules := range l.owners {
		if rule := rules.find(r); rule != nil && (best == nil || best.covers(*rule)) {
			best = rule
		}
	}
	if best == nil || best.name == "" {
		return hashLane(r.hostPort())
	}
	return ruleLane(*best)
}

// Lanes returns all lanes.
func (l Limits) Lanes() []string {
	var all []string
	for i := range hashLanes {
		all = append(all, fmt.Sprintf("h%02d", i))
	}
	for lane := range l.byLane() {
		all = append(all, lane)
	}
	slices.Sort(all)
	return all
}

// byLane returns a rule for each lane that is not one by hash.
func (l Limits) byLane() map[string]HostLimit {
	all := make(map[string]HostLimit)
	for _, rules := range l.owners {
		for _, r := range rules {
			if r.name != "" {
				all[ruleLane(r)] = r
			}
		}
	}
	return all
}

// ofLane returns the limit of each host of a lane. A lane whose rule is gone has no hosts, but
// batches that are queued there still need a place.
func (l Limits) ofLane(lane string) Limit {
	if isHashLane(lane) {
		return l.of(HostLimit{})
	}
	if r, ok := l.byLane()[lane]; ok {
		return l.of(r)
	}
	return Limit{Connections: defaultConnections}
}

// Of returns the rules of an owner.
func (l Limits) Of(owner string) HostLimits { return l.owners[owner] }

// with returns l with the rules of one owner replaced.
func (l Limits) with(owner string, rules HostLimits) Limits {
	owners := map[string]HostLimits{owner: rules}
	for o, r := range l.owners {
		if o != owner {
			owners[o] = r
		}
	}
	if len(rules) == 0 {
		delete(owners, owner)
	}
	return Limits{owners}
}

// encode returns the stored form.
func (l Limits) encode() []byte { return encode(storedLimits{Version: version, Rules: l.owners}) }

// decodeLimits decodes the stored form; none is the zero value.
func decodeLimits(data []byte) (Limits, error) {
	if len(data) == 0 {
		return Limits{}, nil
	}
	var version1 struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(data, &version1); err != nil {
		return Limits{}, fmt.Errorf("limits of the fleet: %w", err)
	}
	if version1.Version > version {
		return Limits{}, fmt.Errorf("limits of the fleet: %w", ErrNewer)
	}
	var stored storedLimits
	if err := json.Unmarshal(data, &stored); err != nil {
		return Limits{}, fmt.Errorf("limits of the fleet: %w", err)
	}
	return Limits{stored.Rules}, nil
}

// ReadLimits returns the limits of the fleet.
func ReadLimits(ctx context.Context, b Broker) (Limits, error) {
	bucket, err := b.Bucket(ctx, placesBucket, 0)
	if errors.Is(err, ErrNoRun) { // there is none yet, and this user may not create it
		return Limits{}, nil
	}
	if err != nil {
		return Limits{}, err
	}
	v, err := bucket.Get(ctx, limitsKey)
	if err != nil && !errors.Is(err, ErrNoKey) {
		return Limits{}, err
	}
	return decodeLimits(v.Data)
}

// SetLimits replaces the rules of an owner: the ID of a run, or "" for the administrator. All
// processes of the fleet follow soon. Without rules the owner is forgotten.
func SetLimits(ctx context.Context, b Broker, owner string, rules HostLimits) error {
	return ChangeLimits(ctx, b, owner, func(HostLimits) HostLimits { return rules })
}

// ChangeLimits replaces the rules of an owner, as SetLimits, by those that change returns for the
// present ones. It calls change again if another process was faster.
func ChangeLimits(ctx context.Context, b Broker, owner string, change func(HostLimits) HostLimits) error {
	bucket, err := b.Bucket(ctx, placesBucket, 0)
	if err != nil {
		return err
	}
	for {
		v, err := bucket.Get(ctx, limitsKey)
		if err != nil && !errors.Is(err, ErrNoKey) {
			return err
		}
		isNew := err != nil
		l, err := decodeLimits(v.Data)
		if err != nil {
			return err
		}
		rules := change(l.Of(owner))
		if len(rules) > maxRules {
			return fmt.Errorf("%d limits of hosts are more than %d", len(rules), maxRules)
		}
		data := l.with(owner, rules).encode()
		switch {
		case isNew && len(rules) == 0:
			return nil
		case isNew:
			_, err = bucket.Create(ctx, limitsKey, data)
		default:
			_, err = bucket.Update(ctx, limitsKey, data, v.Revision)
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
