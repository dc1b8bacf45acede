package aria2rpc

import (
	"slices"
	"strconv"

	"pawl/downloader/weburl"
)

// aria2Version is the version that getVersion returns, because some clients want a recent one.
const aria2Version = "1.37.0"

// features are the features of aria2 that pawl has.
var features = []string{"GZip", "HTTPS", "Message Digest", "Metalink"}

// A method is a method of aria2 whose calls need the secret.
type method struct {
	do      func(*exchange, params) (any, error)
	changes bool // the queue
}

// methods are the methods by name, without "system.…".
var methods = map[string]method{
	"aria2.addUri":               {addURI, true},
	"aria2.addTorrent":           {addTorrent, false},
	"aria2.addMetalink":          {addMetalink, true},
	"aria2.remove":               {remove, true},
	"aria2.forceRemove":          {remove, true},
	"aria2.pause":                {pause, true},
	"aria2.forcePause":           {pause, true},
	"aria2.pauseAll":             {pauseAll, true},
	"aria2.forcePauseAll":        {pauseAll, true},
	"aria2.unpause":              {unpause, true},
	"aria2.unpauseAll":           {unpauseAll, true},
	"aria2.changePosition":       {changePosition, true},
	"aria2.changeUri":            {changeURI, true},
	"aria2.changeOption":         {changeOption, true},
	"aria2.removeDownloadResult": {removeDownloadResult, true},
	"aria2.purgeDownloadResult":  {purgeDownloadResult, true},
	"aria2.tellStatus":           {tellStatus, false},
	"aria2.tellActive":           {tellActive, false},
	"aria2.tellWaiting":          {tellWaiting, false},
	"aria2.tellStopped":          {tellStopped, false},
	"aria2.getUris":              {getURIs, false},
	"aria2.getFiles":             {getFiles, false},
	"aria2.getPeers":             {getPeers, false},
	"aria2.getServers":           {getServers, false},
	"aria2.getOption":            {getOption, false},
	"aria2.getGlobalOption":      {getGlobalOption, false},
	"aria2.changeGlobalOption":   {changeGlobalOption, false},
	"aria2.getGlobalStat":        {getGlobalStat, false},
	"aria2.getVersion":           {getVersion, false},
	"aria2.getSessionInfo":       {getSessionInfo, false},
	"aria2.saveSession":          {saveSession, true},
	"aria2.shutdown":             {shutdown, true},
	"aria2.forceShutdown":        {shutdown, true},
}

// methodNames returns the names of all methods.
func methodNames() []string {
	names := []string{"system.listMethods", "system.listNotifications", "system.multicall"}
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// success is the result of a method that has nothing else to say.
const success = "OK"

// fields are a struct of aria2. Numbers are texts.
type fields map[string]any

// decimal returns a number as aria2 has it.
func decimal[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

func getVersion(x *exchange, _ params) (any, error) {
	return fields{"version": aria2Version, "enabledFeatures": features, "pawl": x.options.Version}, nil
}

func getSessionInfo(x *exchange, _ params) (any, error) {
	return fields{"sessionId": x.session}, nil
}

func getGlobalStat(x *exchange, _ params) (any, error) {
	s := x.queue.Summary()
	return fields{
		"downloadSpeed": decimal(x.options.Stats()), "uploadSpeed": "0",
		"numActive": decimal(s.Active), "numWaiting": decimal(s.Waiting + s.Paused),
		"numStopped": decimal(s.Ended), "numStoppedTotal": decimal(s.Ended),
	}, nil
}

// saveSession has nothing to do, because the queue is durable before each answer.
func saveSession(*exchange, params) (any, error) { return success, nil }

func shutdown(x *exchange, _ params) (any, error) {
	x.after = x.options.Stop
	return success, nil
}

// redact returns the text of an error without the passwords in URLs.
func redact(err error) string { return weburl.RedactText(err.Error()) }
