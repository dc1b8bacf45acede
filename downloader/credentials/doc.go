// Package credentials reads the texts of users and servers about logins: netrc files, cookie files
// in Netscape's format, and the challenges of HTTP authentication. It also computes the answer to a
// Digest challenge.
//
// All of it is pure: the functions get bytes and return values. They never decide who may get a
// credential; the caller must bind each one to its origin. Their errors name lines, and never the
// text of a line, because it may be a secret.
package credentials
