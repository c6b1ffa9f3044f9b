package gateway

import (
	"bytes"
	"strings"
)

// mediaType returns the media type of a format of a report, without parameters.
func mediaType(format string) string {
	switch format {
	case "json":
		return "application/json"
	case "html":
		return "text/html"
	case "md":
		return "text/markdown"
	case "txt":
		return "text/plain"
	case "csv":
		return "text/csv"
	case "svg":
		return "image/svg+xml"
	case eventStreamFormat:
		return eventStreamType
	case "xml":
		return "application/xml"
	default:
		return "application/octet-stream"
	}
}

// chooseFormat returns the format that an Accept header likes best, an earlier one when it likes several equally; empty
// when it accepts none. A client that names no type takes the first.
func chooseFormat(accept string, formats []string) string {
	if accept == "" || accept == "*/*" {
		return formats[0]
	}
	best, bestQuality := "", 0
	for _, format := range formats {
		if q := mediaQuality(accept, mediaType(format)); q > bestQuality {
			best, bestQuality = format, q
		}
	}
	return best
}

// mediaQuality returns the quality, from 0 to 1000, that an Accept header gives a media type: that of the most specific
// range that holds it (RFC 9110, section 12.5.1).
func mediaQuality(accept, media string) int {
	slash := strings.IndexByte(media, '/')
	quality, specificity := 0, 0
	for item := range strings.SplitSeq(accept, ",") {
		name, q, ok := weighted(item)
		if !ok {
			continue
		}
		s := 0
		switch {
		case strings.EqualFold(name, media):
			s = 3
		case len(name) == slash+2 && strings.HasSuffix(name, "/*") && strings.EqualFold(name[:slash], media[:slash]):
			s = 2
		case name == "*/*":
			s = 1
		}
		if s > specificity || (s == specificity && s > 0 && q > quality) {
			quality, specificity = q, s
		}
	}
	return quality
}

// coding is a content coding that answers come in.
type coding uint8

// The codings there are, the preferred last.
const (
	identity coding = iota
	gzipped
	brotlied
)

// chooseCoding returns the content coding that an Accept-Encoding header likes best among those that there are; the
// smaller when it likes several equally, and identity when it accepts none, which is better than no answer.
func chooseCoding(accept string, hasGzip, hasBrotli bool) coding {
	if accept == "" || (!hasGzip && !hasBrotli) {
		return identity
	}
	const unnamed = -1
	br, gz, plain, rest := unnamed, unnamed, unnamed, unnamed
	for item := range strings.SplitSeq(accept, ",") {
		name, q, ok := weighted(item)
		if !ok {
			continue
		}
		switch {
		case strings.EqualFold(name, "br"):
			br = q
		case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
			gz = q
		case strings.EqualFold(name, "identity"):
			plain = q
		case name == "*":
			rest = q
		}
	}
	or := func(q, instead int) int {
		if q == unnamed {
			return instead
		}
		return q
	}
	best, quality := identity, or(plain, 0)
	if q := or(gz, rest); hasGzip && q > 0 && q >= quality {
		best, quality = gzipped, q
	}
	if q := or(br, rest); hasBrotli && q > 0 && q >= quality {
		best = brotlied
	}
	return best
}

// weighted splits an item of an Accept header into its name and its quality from 0 to 1000. It reports false for an
// item that has no name or a quality that is none.
func weighted(item string) (name string, quality int, ok bool) {
	name, rest, _ := strings.Cut(item, ";")
	name = strings.Trim(name, " \t")
	quality = 1000
	for rest != "" {
		var parameter string
		parameter, rest, _ = strings.Cut(rest, ";")
		key, value, _ := strings.Cut(parameter, "=")
		if key = strings.Trim(key, " \t"); key != "q" && key != "Q" {
			continue
		}
		if quality, ok = parseQuality(strings.Trim(value, " \t")); !ok {
			return "", 0, false
		}
	}
	return name, quality, name != ""
}

// parseQuality reads a quality value, such as 0.5, in thousandths.
func parseQuality(s string) (int, bool) {
	if s == "" || len(s) > 5 || (s[0] != '0' && s[0] != '1') || (len(s) > 1 && s[1] != '.') {
		return 0, false
	}
	quality := int(s[0]-'0') * 1000
	for i, weight := 2, 100; i < len(s); i, weight = i+1, weight/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		quality += int(s[i]-'0') * weight
	}
	return quality, quality <= 1000
}

// matchesTag reports whether an If-None-Match header names an entity tag, in the weak comparison of RFC 9110, section
// 8.8.3.2. A star names every tag.
func matchesTag(header []byte, tag string) bool {
	header = bytes.Trim(header, " \t")
	if len(header) == 1 && header[0] == '*' {
		return true
	}
	for len(header) > 0 {
		header = bytes.TrimLeft(header, " \t,")
		header = bytes.TrimPrefix(header, []byte("W/"))
		if len(header) == 0 || header[0] != '"' {
			return false
		}
		end := bytes.IndexByte(header[1:], '"')
		if end < 0 {
			return false
		}
		end += 2
		if string(header[:end]) == tag {
			return true
		}
		header = header[end:]
	}
	return false
}
