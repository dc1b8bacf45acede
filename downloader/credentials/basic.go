package credentials

import "encoding/base64"

// Basic returns the value of an Authorization field of the Basic scheme (RFC 7617). user must not contain a colon.
func Basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
