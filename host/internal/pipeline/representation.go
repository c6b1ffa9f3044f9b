package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
)

// Representation is an answer in one format, ready to be written. It is immutable; its bytes are shared by all who write
// it.
type Representation struct {
	// Format such as "json", "html" or "md".
	Format      string
	ContentType string
	Body        []byte
	// Gzip and Brotli are the compressed forms, nil when they would save nothing.
	Gzip, Brotli []byte
	// ETag is strong and quoted, of the plain body.
	ETag string
	// ETagGzip and ETagBrotli are those of the compressed forms: a strong tag names bytes, not a meaning.
	ETagGzip, ETagBrotli string
}

// minCompressed is the size from which compressing is worth the two headers it costs.
const minCompressed = 860

// brotliLevel and gzipLevel are chosen for bodies made once and sent often: a report takes about a millisecond.
const (
	brotliLevel = 5
	gzipLevel   = 6
)

// NewRepresentation makes the ready form of a body. The body must not be changed afterwards.
func NewRepresentation(format, contentType string, body []byte) Representation {
	sum := sha256.Sum256(body)
	tag := base64.RawURLEncoding.EncodeToString(sum[:12])
	r := Representation{Format: format, ContentType: contentType, Body: body, ETag: `"` + tag + `"`}
	if len(body) < minCompressed {
		return r
	}
	if packed := gzips.pack(body); packed != nil {
		r.Gzip, r.ETagGzip = packed, `"`+tag+`-g"`
	}
	if packed := brotlis.pack(body); packed != nil {
		r.Brotli, r.ETagBrotli = packed, `"`+tag+`-b"`
	}
	return r
}

// packer compresses whole bodies in one form. A compressor takes a megabyte, most of which is cleared when it begins anew, so each is
// used again.
type packer struct{ idle sync.Pool }

// compressor is what both compressors are.
type compressor interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// The forms that bodies are compressed in.
var (
	gzips = packer{sync.Pool{New: func() any {
		w, err := gzip.NewWriterLevel(nil, gzipLevel)
		if err != nil {
			panic(err) // The level is a constant within the range.
		}
		return w
	}}}
	brotlis = packer{sync.Pool{New: func() any { return brotli.NewWriterLevel(nil, brotliLevel) }}}
)

// pack returns the compressed form of a body, or nil when it is not smaller.
func (p *packer) pack(body []byte) []byte {
	var b bytes.Buffer
	w := p.idle.Get().(compressor)
	w.Reset(&b)
	_, err := w.Write(body)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil
	}
	w.Reset(nil) // It holds on to nothing.
	p.idle.Put(w)
	if b.Len() >= len(body) {
		return nil
	}
	return bytes.Clone(b.Bytes())
}

// Tier is where an answer came from, as clients see it in X-Cache.
type Tier string

// The tiers there are, nearest first.
const (
	TierNear  Tier = "near"
	TierL1    Tier = "l1"
	TierL2    Tier = "l2"
	TierStore Tier = "store"
	TierMiss  Tier = "miss"  // just loaded
	TierStale Tier = "stale" // older than it should be
)

// Answer is what Requests answers with. It is cheap to copy.
type Answer struct {
	entry *entry
	reps  []Representation
	// Tier the answer came from; TierStale whenever it is stale.
	Tier Tier
	// Stale is whether the answer is older than its strategy allows.
	Stale bool
}

// Representation returns the answer in a format.
func (a *Answer) Representation(format string) (*Representation, bool) {
	for i := range a.reps {
		if a.reps[i].Format == format {
			return &a.reps[i], true
		}
	}
	return nil, false
}

// Formats lists the formats of the answer, the preferred first.
func (a *Answer) Formats() []string {
	formats := make([]string, len(a.reps))
	for i := range a.reps {
		formats[i] = a.reps[i].Format
	}
	return formats
}

// StoredAt is when the answer was loaded.
func (a *Answer) StoredAt() time.Time { return a.entry.storedAt }

// FreshUntil is when the answer becomes stale.
func (a *Answer) FreshUntil() time.Time { return a.entry.freshUntil }

// StaleUntil is until when the answer may be served stale.
func (a *Answer) StaleUntil() time.Time { return a.entry.staleUntil }

// Noun is the decoded value, such as an sdk.Quote.
func (a *Answer) Noun() any { return a.entry.noun }

// parts are representations of parts of an entry's value, such as the last 30 of its candles, made once per part. They
// go when the entry goes.
type parts struct {
	mu    sync.Mutex
	forms map[partName]*part
}

// partName tells the parts of an entry apart.
type partName struct {
	size  int
	stale bool
}

// part is made once, by the first who asks, without keeping those from their parts who ask for others.
type part struct {
	once sync.Once
	made atomic.Bool
	rep  Representation
}

// maxParts bounds the parts kept with one entry; one more takes the place of any other.
const maxParts = 8

// Part returns the representation of the newest size items of the answer's noun, made by build when it is first asked
// for. A stale answer has parts of its own. Its error is the context's, when that ends before it could be made.
func (a *Answer) Part(ctx context.Context, size int, build func(noun any) Representation) (*Representation, error) {
	f := a.entry.parts.form(partName{size, a.Stale})
	if f.made.Load() {
		return &f.rep, nil
	}
	err := a.entry.encoders.part(ctx, func() {
		f.once.Do(func() {
			f.rep = build(a.entry.noun)
			f.made.Store(true)
		})
	})
	if err != nil {
		return nil, err
	}
	return &f.rep, nil
}

func (p *parts) form(name partName) *part {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.forms[name]; ok {
		return f
	}
	if p.forms == nil {
		p.forms = make(map[partName]*part)
	}
	for other := range p.forms {
		if len(p.forms) < maxParts {
			break
		}
		delete(p.forms, other)
	}
	f := &part{}
	p.forms[name] = f
	return f
}
