package aria2rpc

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"pawl/downloader/queue"
	"pawl/store"
)

// params are the parameters of a call. The numbers in messages count from 0, without a token.
type params []json.RawMessage

// tokenPrefix is the beginning of a first parameter that is the secret.
const tokenPrefix = "token:"

// token returns the token in the first parameter, "" if there is none, and the other parameters.
func (p params) token() (string, params) {
	if len(p) > 0 {
		if s, ok := text(p[0]); ok {
			if token, ok := strings.CutPrefix(s, tokenPrefix); ok {
				return token, p[1:]
			}
		}
	}
	return "", p
}

// at returns a parameter, which must have a kind.
func (p params) at(i int, want kind) (json.RawMessage, error) {
	switch {
	case i >= len(p):
		return nil, failf("The parameter at %d is required but missing.", i)
	case kindOf(p[i]) != want:
		return nil, failf("The parameter at %d has wrong type.", i)
	}
	return p[i], nil
}

// optional returns a parameter, nil if it is missing.
func (p params) optional(i int, want kind) (json.RawMessage, error) {
	if i >= len(p) {
		return nil, nil
	}
	return p.at(i, want)
}

func (p params) text(i int) (string, error) {
	value, err := p.at(i, isText)
	if err != nil {
		return "", err
	}
	s, ok := text(value)
	if !ok {
		return "", failf("The parameter at %d has wrong type.", i)
	}
	return s, nil
}

func (p params) list(i int) (all []json.RawMessage, err error) {
	value, err := p.at(i, isList)
	if err == nil {
		err = json.Unmarshal(value, &all)
	}
	return all, err
}

// texts returns the texts of a list. Its other values are ignored.
func (p params) texts(i int) (all []string, err error) {
	values, err := p.list(i)
	for _, v := range values {
		if s, ok := text(v); ok {
			all = append(all, s)
		}
	}
	return all, err
}

// integer returns a whole number, which fits into 32 bits.
func (p params) integer(i int) (int, error) {
	value, err := p.at(i, isNumber)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return 0, failf("The parameter at %d has wrong type.", i)
	}
	return int(max(math.MinInt32, min(math.MaxInt32, f))), nil
}

// integerFrom returns a whole number that is at least low.
func (p params) integerFrom(i, low int) (int, error) {
	n, err := p.integer(i)
	if err == nil && n < low {
		err = failf("The integer parameter at %d has invalid value: the value must be greater than or equal to %d.", i, low)
	}
	return n, err
}

// position returns the position that a download is wanted at, n = -1 for none.
func (p params) position(i int) (n int, err error) {
	if i >= len(p) {
		return -1, nil
	}
	n, err = p.integer(i)
	if err == nil && n < 0 {
		err = failf("Position must be greater than or equal to 0.")
	}
	return n, err
}

// place returns the place of a new download.
func (p params) place(i int) (queue.Place, error) {
	n, err := p.position(i)
	if n < 0 || err != nil {
		return queue.Last, err
	}
	return queue.Place{N: n}, nil
}

// optionsAndPlace returns the parameters 1 and 2 of addUri and addMetalink.
func (p params) optionsAndPlace() (options map[string]json.RawMessage, at queue.Place, err error) {
	if options, err = p.options(1); err == nil {
		at, err = p.place(2)
	}
	return options, at, err
}

// A keySet has the keys that a client wants. The zero keySet has all.
type keySet map[string]bool

func (k keySet) has(key string) bool { return len(k) == 0 || k[key] }

// keys returns the optional list of keys.
func (p params) keys(i int) (keySet, error) {
	if value, err := p.optional(i, isList); value == nil || err != nil {
		return nil, err
	}
	names, err := p.texts(i)
	all := make(keySet, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all, err
}

// options returns the optional struct of options.
func (p params) options(i int) (all map[string]json.RawMessage, err error) {
	value, err := p.optional(i, isObject)
	if value != nil && err == nil {
		err = json.Unmarshal(value, &all)
	}
	return all, err
}

// task returns the task whose GID, or a unique beginning of it, is parameter i.
func (x *exchange) task(p params, i int) (queue.Task, error) {
	gid, err := p.text(i)
	if err != nil {
		return queue.Task{}, err
	}
	if gid == "" || len(gid) > 16 || strings.Trim(strings.ToLower(gid), "0123456789abcdef") != "" {
		return queue.Task{}, failf("Invalid GID %s", gid)
	}
	id, err := x.queue.Resolve(strings.ToLower(gid))
	var t queue.Task
	if err == nil {
		t, err = x.queue.Task(id)
	}
	switch {
	case errors.Is(err, queue.ErrNotFound):
		err = failf("GID %s is not found", gid)
	case err != nil:
		err = failf("GID %s is not unique", gid)
	}
	return t, err
}

// waiting reports whether a task is in aria2's list of waiting downloads.
func waiting(t queue.Task) bool { return t.State == queue.Waiting || t.State == queue.Paused }

// gids returns IDs as a list of GIDs.
func gids(tasks []queue.Task) []store.ID {
	all := make([]store.ID, len(tasks))
	for i, t := range tasks {
		all[i] = t.ID
	}
	return all
}
