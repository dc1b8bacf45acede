package response

import (
	"fmt"
	"net/http"
	"strings"
)

// A Version identifies a version of a file: its size and its validators, as a server sends them. Bytes of two
// versions must never be mixed.
type Version struct {
	Size         int64  // bytes; -1 if unknown
	ETag         string // as sent, for example `"5d8c"` or `W/"5d8c"`; "" if unknown
	LastModified string // as sent; "" if unknown
	MediaType    string // without parameters, for example "application/zip"; "" if unknown
	Coding       string // content coding that belongs to the file, for example "gzip"; "" for none
}

// Differs returns in words how o is another version than v, or "" if nothing shows it. A
// property that one of both lacks is no difference. Equal strong ETags outweigh Last-Modified,
// because some frameworks send the time of the response there.
func (v Version) Differs(o Version) string {
	switch {
	case v.SizeDiffers(o):
		return fmt.Sprintf("its size was %d and is %d", v.Size, o.Size)
	case v.ETag != "" && o.ETag != "" && opaqueTag(v.ETag) != opaqueTag(o.ETag):
		return fmt.Sprintf("its ETag was %s and is %s", v.ETag, o.ETag)
	case v.StrongETag() != "" && v.ETag == o.ETag:
		return ""
	case v.LastModified != "" && o.LastModified != "" && v.LastModified != o.LastModified:
		return fmt.Sprintf("its Last-Modified was %s and is %s", v.LastModified, o.LastModified)
	}
	return ""
}

// SizeDiffers reports whether both sizes are known and differ.
func (v Version) SizeDiffers(o Version) bool {
	return v.Size >= 0 && o.Size >= 0 && v.Size != o.Size
}

// IsOlder reports whether o has a later Last-Modified.
func (v Version) IsOlder(o Version) bool {
	was, err := http.ParseTime(v.LastModified)
	now, nowErr := http.ParseTime(o.LastModified)
	return err == nil && nowErr == nil && was.Before(now)
}

// SharesValidator reports whether both have an ETag, or both a Last-Modified. Only then does
// a missing difference mean anything.
func (v Version) SharesValidator(o Version) bool {
	return v.ETag != "" && o.ETag != "" || v.LastModified != "" && o.LastModified != ""
}

// StrongETag returns the ETag if it may be used in If-Range, else "". A weak one does not
// promise equal bytes (RFC 9110 §8.8.1, §13.1.5).
func (v Version) StrongETag() string {
	if strings.HasPrefix(v.ETag, `"`) {
		return v.ETag
	}
	return ""
}

// opaqueTag returns an ETag without its mark of weakness, for the weak comparison (RFC 9110
// §8.8.3.2). Apache sends a tag as weak while the file is young, and as strong afterwards.
func opaqueTag(etag string) string { return strings.TrimPrefix(etag, "W/") }

// Proves reports whether o is certainly the same version: equal strong ETags, and nothing
// that differs.
func (v Version) Proves(o Version) bool {
	return v.Differs(o) == "" && o.StrongETag() != "" && v.ETag == o.ETag
}

// IsPage reports whether o is a web page although v is a file of another kind: most likely a
// login page, or the page of a captive portal.
func (v Version) IsPage(o Version) bool {
	same := v.ETag != "" && opaqueTag(v.ETag) == opaqueTag(o.ETag)
	return v.MediaType != "" && !IsPage(v.MediaType) && IsPage(o.MediaType) && !same
}

// IsSubstitute reports whether o lacks any validator although v has one, and has another
// size: most likely an error page with status 200. It does not prove that the file changed.
func (v Version) IsSubstitute(o Version) bool {
	return (v.ETag != "" || v.LastModified != "") && o.ETag == "" && o.LastModified == "" && v.Size != o.Size
}

// Unexpected returns Page or Substitute if o is not the file at all, and Use if it may be a
// version of the file.
func (v Version) Unexpected(o Version) Decision {
	switch {
	case v.IsPage(o):
		return Page
	case v.SizeDiffers(o) && v.IsSubstitute(o):
		return Substitute
	}
	return Use
}

// OtherCoding reports whether r has a part of a body in another content coding than v. The
// offsets of its bytes then count other bytes.
func (v Version) OtherCoding(r Content) bool {
	return !r.Whole && v.Size >= 0 && v.Coding != r.Version.Coding
}

// Merge returns v with the known properties of o. If v has a size already, it keeps that.
func (v Version) Merge(o Version) Version {
	if v.Size < 0 {
		v.Size = o.Size
	}
	if o.ETag != "" {
		v.ETag = o.ETag
	}
	if o.LastModified != "" {
		v.LastModified = o.LastModified
	}
	if o.MediaType != "" {
		v.MediaType = o.MediaType
	}
	v.Coding = o.Coding
	return v
}
