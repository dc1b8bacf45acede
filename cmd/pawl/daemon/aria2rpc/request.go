package aria2rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const (
	// maxDepth is how deep the values of a request may be nested. A batch of multicalls needs 8.
	maxDepth = 64
	// maxValues is the most values of a request, because an empty one takes 2 bytes of it and 24 of memory. 10,000
	// downloads with ten options each have 250,000, and take more than maxRequest.
	maxValues = 300_000
	// maxAnswer is the most bytes of all answers to a request, because each of many calls may want the whole
	// queue. A queue of 60,000 downloads fits.
	maxAnswer = 64 << 20
	// maxBare is the most bytes of the answers to a request without the secret: lists of methods and notifications.
	maxBare = 64 << 10
	// maxGuesses is how many wrong tokens of a request are looked at. Each takes a second.
	maxGuesses = 3
)

// An rpcError is an error that a client sees.
type rpcError struct {
	Code    int    `json:"code"` // 1, or a code of JSON-RPC 2.0 §5.1
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return e.Message }

// failf returns the error that aria2 has for all failures of methods.
func failf(format string, args ...any) error { return &rpcError{1, fmt.Sprintf(format, args...)} }

var (
	errParse        = &rpcError{-32700, "Parse error."}
	errInvalid      = &rpcError{-32600, "Invalid Request."}
	errParams       = &rpcError{-32602, "Invalid params."}
	errUnauthorized = &rpcError{1, "Unauthorized"}
	errLarge        = &rpcError{1, "the answer would be too large; ask for less at a time"}
)

// An exchange is the work for one request over HTTP, or for one message of a WebSocket. It is used by one
// goroutine.
type exchange struct {
	*handler
	request *http.Request
	lenient bool // a text that is no JSON is an invalid request, as it is for aria2 in a URL

	tokens map[string]bool // the tokens that were checked, and whether they were right
	used   int             // bytes of the answers so far
	limit  int             // most bytes of the answers: maxBare, or maxAnswer after a right token
	after  func()          // called when the answer is sent; nil for nothing
}

func newExchange(h *handler, r *http.Request) *exchange {
	return &exchange{handler: h, request: r, limit: maxBare, tokens: make(map[string]bool)}
}

// end must be called when the answer is sent.
func (x *exchange) end() {
	if x.after != nil {
		x.after()
	}
}

// An answer is the answer to one call.
type answer struct {
	id      json.RawMessage // as the client has sent it
	result  json.RawMessage // nil if there is an error
	err     *rpcError
	changes bool // the call may have changed the queue
}

// process answers a text, and returns the answer and its HTTP status.
func (x *exchange) process(text []byte) (body []byte, status int) {
	if !isReasonable(text) {
		return failed(errParse).encode(), errParse.status()
	}
	var value json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&value); err != nil { // aria2 ignores text behind the value
		if x.lenient {
			return failed(errInvalid).encode(), errInvalid.status()
		}
		return failed(errParse).encode(), errParse.status()
	}
	switch kindOf(value) {
	case isObject:
		answers := []answer{x.answer(value)}
		x.sync(answers)
		return answers[0].encode(), answers[0].status()
	case isList:
		return x.batch(value), http.StatusOK
	case isNumber:
		return failed(errParse).encode(), errParse.status()
	}
	return failed(errInvalid).encode(), errInvalid.status()
}

// batch answers a batch of calls. An element that is no object gets no answer, as in aria2.
func (x *exchange) batch(value json.RawMessage) []byte {
	var calls []json.RawMessage
	json.Unmarshal(value, &calls) // the value is a list
	answers := make([]answer, 0, len(calls))
	for _, c := range calls {
		if kindOf(c) == isObject {
			answers = append(answers, x.answer(c))
		}
	}
	x.sync(answers)
	var b bytes.Buffer
	b.WriteByte('[')
	for i, a := range answers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(a.encode())
	}
	b.WriteByte(']')
	return b.Bytes()
}

// sync makes the changes of calls durable. If that fails, it makes their answers errors.
func (x *exchange) sync(answers []answer) {
	changed := false
	for _, a := range answers {
		changed = changed || a.changes
	}
	if !changed {
		return
	}
	err := x.queue.Sync()
	if err == nil {
		return
	}
	for i := range answers {
		if answers[i].changes && answers[i].err == nil {
			answers[i].err = &rpcError{1, "the change is made, but it is not durable yet: " + err.Error()}
		}
	}
}

// answer answers one call.
func (x *exchange) answer(value json.RawMessage) answer {
	var call map[string]json.RawMessage // not a struct, which would take keys in any case
	json.Unmarshal(value, &call)        // the value is an object
	id, ok := call["id"]
	if !ok {
		return failed(errInvalid)
	}
	a := answer{id: id}
	method, ok := text(call["method"])
	if !ok {
		a.err = errInvalid
		return a
	}
	var p params
	if value, given := call["params"]; given {
		if kindOf(value) != isList {
			a.err = errParams
			return a
		}
		json.Unmarshal(value, &p) // the value is a list
	}
	result, changes, err := x.call(method, p)
	a.changes = changes
	a.result, a.err = x.encodeResult(result, err)
	return a
}

// encodeResult encodes a result, unless it is too large.
func (x *exchange) encodeResult(result any, err error) (json.RawMessage, *rpcError) {
	var text json.RawMessage
	if err == nil {
		text, err = json.Marshal(result)
	}
	if err == nil && !x.take(len(text)) {
		err = errLarge
	}
	if err != nil {
		return nil, asRPCError(err)
	}
	return text, nil
}

// room returns how many bytes the answers may still have.
func (x *exchange) room() int { return x.limit - x.used }

// take takes n bytes of the room for answers. It reports false if there is not so much.
func (x *exchange) take(n int) bool {
	if n > x.room() {
		return false
	}
	x.used += n
	return true
}

// asRPCError returns err as clients see it.
func asRPCError(err error) *rpcError {
	var e *rpcError
	if errors.As(err, &e) {
		return e
	}
	return &rpcError{1, redact(err)}
}

// call calls a method. changes says that it may have changed the queue.
func (x *exchange) call(name string, p params) (result any, changes bool, err error) {
	switch name {
	case "system.listMethods":
		return x.methods, false, nil
	case "system.listNotifications":
		return notificationNames, false, nil
	case "system.multicall":
		return x.multicall(p)
	}
	token, p := p.token()
	if !x.authorize(token) {
		return nil, false, errUnauthorized
	}
	m, ok := methods[name]
	if !ok {
		return nil, false, failf("No such method: %s", name)
	}
	result, err = m.do(x, p)
	return result, m.changes, err
}

// authorize reports whether a token is the right one.
func (x *exchange) authorize(token string) bool {
	right, checked := x.tokens[token]
	switch {
	case checked:
		return right
	case x.wrongTokens() >= maxGuesses:
		return false
	case token == "" && x.lenient && x.request.Header.Get("Authorization") == "":
		return false // a script of another page, which has no token, could come with the session of the user
	}
	if right = x.options.Authorize(x.request, token); right {
		x.limit = maxAnswer
	}
	x.tokens[token] = right
	return right
}

// wrongTokens returns how many tokens were wrong.
func (x *exchange) wrongTokens() (n int) {
	for _, right := range x.tokens {
		if !right {
			n++
		}
	}
	return n
}

// multicall answers system.multicall: a list with a list of the result, or an error, for each call. The calls
// have tokens of their own. A token before the list counts for calls without one.
func (x *exchange) multicall(p params) (result any, changes bool, err error) {
	outer, p := p.token()
	calls, err := p.list(0)
	if err != nil {
		return nil, false, err
	}
	results, given := make([]json.RawMessage, len(calls)), 0
	for i, value := range calls {
		result, changed, err := x.inner(value, outer)
		changes = changes || changed
		text, rpcErr := x.encodeResult([]any{result}, err)
		if rpcErr != nil {
			text, _ = json.Marshal(rpcErr) // never fails
		}
		results[i] = text
		given += len(text) + len(",")
	}
	x.used -= given + len("[]") // the whole list takes it again
	return results, changes, nil
}

// inner calls one method of a multicall.
func (x *exchange) inner(value json.RawMessage, outer string) (result any, changes bool, err error) {
	var call map[string]json.RawMessage
	if kindOf(value) != isObject {
		return nil, false, failf("system.multicall expected struct.")
	}
	json.Unmarshal(value, &call)
	name, ok := text(call["methodName"])
	switch {
	case !ok:
		return nil, false, failf("Missing methodName.")
	case name == "system.multicall":
		return nil, false, failf("Recursive system.multicall forbidden.")
	}
	var p params
	if value := call["params"]; kindOf(value) == isList {
		json.Unmarshal(value, &p)
	}
	if token, _ := p.token(); token == "" && outer != "" {
		_, p = p.token()
		p = append(params{json.RawMessage(quote(tokenPrefix + outer))}, p...)
	}
	return x.call(name, p)
}

// failed returns the answer to a text that has no id.
func failed(err *rpcError) answer { return answer{err: err} }

// encode returns the answer as JSON-RPC 2.0 has it.
func (a answer) encode() []byte {
	id := a.id
	if id == nil {
		id = json.RawMessage("null")
	}
	key, value := `"result":`, a.result
	if a.err != nil {
		key = `"error":`
		value, _ = json.Marshal(a.err) // never fails
	}
	return bytes.Join([][]byte{[]byte(`{"id":`), id, []byte(`,"jsonrpc":"2.0",`), []byte(key), value, []byte("}")}, nil)
}

// status returns the HTTP status of the answer.
func (a answer) status() int {
	if a.err == nil {
		return http.StatusOK
	}
	return a.err.status()
}

// status returns the HTTP status that aria2 has for an error.
func (e *rpcError) status() int {
	switch e.Code {
	case 1, errInvalid.Code:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// isReasonable reports whether the values of a text are neither too many nor nested too deep. A text that is no JSON
// may be either.
func isReasonable(text []byte) bool {
	depth, values, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			if depth++; depth > maxDepth {
				return false
			}
			values++
		case c == ']', c == '}':
			depth--
		case c == ',':
			values++
		}
		if values > maxValues {
			return false
		}
	}
	return true
}

// A kind is the type of a JSON value.
type kind int

const (
	other kind = iota // null, true, false
	isObject
	isList
	isNumber
	isText
)

// kindOf returns the type of a value, other for none.
func kindOf(value json.RawMessage) kind {
	if len(value) == 0 {
		return other
	}
	switch c := value[0]; {
	case c == '{':
		return isObject
	case c == '[':
		return isList
	case c == '"':
		return isText
	case strings.IndexByte("-0123456789", c) >= 0:
		return isNumber
	}
	return other
}

// text returns the text of a value. ok is false if it is none.
func text(value json.RawMessage) (s string, ok bool) {
	if kindOf(value) != isText {
		return "", false
	}
	return s, json.Unmarshal(value, &s) == nil
}
