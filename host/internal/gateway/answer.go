package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"
)

// header is a header field that is always the same, in the bytes that fasthttp takes without a conversion.
type header struct{ name, value []byte }

func fixed(name, value string) header { return header{name: []byte(name), value: []byte(value)} }

func (f header) set(h *fasthttp.ResponseHeader) { h.SetCanonical(f.name, f.value) }

// Names and fixed fields of the answers. They are written in the canonical form that fasthttp would give them, or, as
// ETag, in the usual one.
var (
	nameRequestID    = []byte("X-Request-Id")
	nameETag         = []byte("ETag")
	nameCacheControl = []byte("Cache-Control")
	nameAge          = []byte("Age")
	nameXCache       = []byte("X-Cache")

	nameRateLimit       = []byte("RateLimit")
	nameRateLimitPolicy = []byte("RateLimit-Policy")

	nameAccept         = []byte("Accept")
	nameAcceptEncoding = []byte("Accept-Encoding")
	nameIfNoneMatch    = []byte("If-None-Match")

	noSniff       = fixed("X-Content-Type-Options", "nosniff")
	anyOrigin     = fixed("Access-Control-Allow-Origin", "*")
	exposed       = fixed("Access-Control-Expose-Headers", "ETag, Age, X-Cache, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy")
	varyAccept    = fixed("Vary", "Accept, Accept-Encoding")
	noStore       = fixed("Cache-Control", "no-store")
	revalidate    = fixed("Cache-Control", "no-cache")
	contentPolicy = fixed("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	noReferrer = fixed("Referrer-Policy", "no-referrer")
	noFrames   = fixed("X-Frame-Options", "DENY")
	anySite    = fixed("Cross-Origin-Resource-Policy", "cross-origin") // As Access-Control-Allow-Origin says.
	ownWindow  = fixed("Cross-Origin-Opener-Policy", "same-origin")
	noDevices  = fixed("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
)

// jsonType is the content type of everything that is not a report.
const jsonType = "application/json"

// writeAnswer writes what the market answered. The body is shared with everybody else who asks: it is neither copied nor
// changed.
func (g *Gateway) writeAnswer(rctx *fasthttp.RequestCtx, answer *Answer) {
	h := &rctx.Response.Header
	rep := answer.Representation
	body, tag := rep.Body, rep.ETag
	coding := identity
	if rep.Gzip != nil || rep.Brotli != nil {
		coding = chooseCoding(text(rctx.Request.Header.PeekCanonical(nameAcceptEncoding)), rep.Gzip != nil, rep.Brotli != nil)
	}
	switch coding {
	case brotlied:
		body, tag = rep.Brotli, rep.ETagBrotli
	case gzipped:
		body, tag = rep.Gzip, rep.ETagGzip
	case identity:
	}

	varyAccept.set(h)
	h.SetCanonical(nameETag, raw(tag))
	g.setFreshness(h, answer)
	if condition := rctx.Request.Header.PeekCanonical(nameIfNoneMatch); len(condition) > 0 && tag != "" && matchesTag(condition, tag) {
		rctx.SetStatusCode(http.StatusNotModified)
		return
	}
	h.SetContentType(rep.ContentType)
	switch coding {
	case brotlied:
		h.SetContentEncoding("br")
	case gzipped:
		h.SetContentEncoding("gzip")
	case identity:
	}
	if rep.Format == "html" {
		contentPolicy.set(h)
		noReferrer.set(h)
		noFrames.set(h)
		anySite.set(h)
		ownWindow.set(h)
		noDevices.set(h)
	}
	rctx.Response.SetBodyRaw(body)
}

// setFreshness says where an answer came from, how old it is and how long it holds. An answer is fresh for what is left;
// for another of its life times it may be shown while a newer one is fetched, as the host itself does; and until it is
// dropped it may be shown when nothing newer can be had.
func (g *Gateway) setFreshness(h *fasthttp.ResponseHeader, answer *Answer) {
	now := g.opts.Now()
	var scratch [96]byte
	left := seconds(answer.FreshUntil.Sub(now))
	life := seconds(answer.FreshUntil.Sub(answer.StoredAt))
	spare := seconds(answer.StaleUntil.Sub(answer.FreshUntil))
	if answer.Stale || left == 0 {
		overdue := seconds(now.Sub(answer.FreshUntil))
		left, life, spare = 0, max(0, life-overdue), seconds(answer.StaleUntil.Sub(now))
	}
	b := append(scratch[:0], "public, max-age="...)
	b = strconv.AppendInt(b, left, 10)
	b = append(b, ", stale-while-revalidate="...)
	b = strconv.AppendInt(b, min(life, spare), 10)
	b = append(b, ", stale-if-error="...)
	b = strconv.AppendInt(b, spare, 10)
	h.SetCanonical(nameCacheControl, b)
	h.SetCanonical(nameAge, strconv.AppendInt(scratch[:0], seconds(now.Sub(answer.StoredAt)), 10))
	switch {
	case answer.Stale:
		h.SetCanonical(nameXCache, []byte("stale"))
	case answer.Tier == "":
		h.SetCanonical(nameXCache, []byte("miss"))
	default:
		h.SetCanonical(nameXCache, raw(answer.Tier))
	}
}

// seconds are the whole seconds of a duration, none when it is negative.
func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }

// writeJSON writes a body that was made for this request. Tag is its entity tag, empty when it has none; fresh is nil
// for what is asked for anew each time.
func (g *Gateway) writeJSON(rctx *fasthttp.RequestCtx, body []byte, tag string, fresh *Answer) {
	if fresh != nil {
		answer := *fresh
		answer.Representation = &Representation{Format: "json", ContentType: jsonType, Body: body, ETag: tag}
		g.writeAnswer(rctx, &answer)
		return
	}
	h := &rctx.Response.Header
	varyAccept.set(h)
	revalidate.set(h)
	h.SetCanonical(nameXCache, []byte("store"))
	h.SetCanonical(nameETag, raw(tag))
	if condition := rctx.Request.Header.PeekCanonical(nameIfNoneMatch); len(condition) > 0 && matchesTag(condition, tag) {
		rctx.SetStatusCode(http.StatusNotModified)
		return
	}
	h.SetContentType(jsonType)
	rctx.Response.SetBodyRaw(body)
}

// tagOf returns the entity tag of parts that together make a body.
func tagOf(parts ...[]byte) string {
	sum := sha256.New()
	for _, part := range parts {
		sum.Write(part)
		sum.Write([]byte{0})
	}
	return `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12]) + `"`
}

// text and raw look at bytes as a string and at a string as bytes without copying them. Neither side may change what it
// looks at; fasthttp copies what it is given, and negotiation keeps nothing.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // Read only, and within the request.
}

func raw(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // Read only: the header copies it.
}
