package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// voice is one source, as the feed hears it.
type voice struct {
	name    string
	streams bool
	// extra asks for a poll at once.
	extra chan struct{}

	lastQuote            atomic.Int64 // Unix nanoseconds of when it last said something, 0 for never
	batches, breaks      atomic.Uint64
	polls, failures      atomic.Uint64
	lost                 atomic.Uint64 // symbols that the next source took over
	lastPoll             atomic.Int64  // Unix nanoseconds
	mu                   sync.Mutex
	silent, failed, open bool
	reason               string // why it is not heard, empty while it is
}

// fails notes that a source cannot be heard, and reports whether it could before.
func (v *voice) fails(err error) (first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	first, v.failed, v.open = !v.failed, true, false
	v.reason = sdk.KindOf(err).String()
	return first
}

// works notes that a source is heard, and reports whether it was not before.
func (v *voice) works() (again bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	again, v.failed, v.open, v.reason = v.failed, false, true, ""
	return again
}

// desk is where the sources are heard: it exists while this host is the one that speaks to them.
type desk struct {
	f    *Feed
	plan *feedPlan
	*merger
	stop context.CancelFunc
}

// openDesk begins to listen to the sources. Nothing is taken that is older than what is handed in. What
// a former desk knows, nil for none, goes on.
func (f *Feed) openDesk(ctx context.Context, from map[string]sdk.Quote, former *desk) *desk {
	ctx, cancel := context.WithCancel(ctx)
	plan := f.plan.Load()
	d := &desk{f: f, plan: plan, merger: newMerger(f, plan, from), stop: cancel}
	if former != nil {
		d.inherit(former.merger)
	}
	for i, v := range plan.voices {
		v.mu.Lock()
		v.silent, v.failed, v.open, v.reason = false, false, false, ""
		v.mu.Unlock()
		v.lastQuote.Store(0)
		if v.streams {
			f.work.Go(func() { d.stream(ctx, i) })
		} else {
			f.work.Go(func() { d.poll(ctx, i) })
		}
	}
	f.work.Go(func() { d.watch(ctx) })
	f.work.Go(func() { d.askGlobal(ctx) })
	return d
}

// watch lets sources take over from silent ones, and says so once per source and direction.
func (d *desk) watch(ctx context.Context) {
	every := time.NewTicker(max(d.quiet/10, 10*time.Millisecond))
	defer every.Stop()
	began := d.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		d.f.safely("let others speak for silent sources", func() {
			for _, i := range d.sweep() {
				select {
				case d.voices[i].extra <- struct{}{}:
				default:
				}
			}
			for _, v := range d.voices {
				d.listenFor(v, began)
			}
		})
	}
}

// listenFor notes whether a source is silent altogether.
func (d *desk) listenFor(v *voice, began time.Time) {
	last := began
	if at := v.lastQuote.Load(); at > 0 {
		last = time.Unix(0, at)
	}
	allowed := d.quiet
	if !v.streams {
		allowed += d.merger.poll
	}
	if set, _ := d.f.assets.now(); len(set.asked) == 0 {
		return
	}
	silent := d.now().Sub(last) >= allowed
	v.mu.Lock()
	defer v.mu.Unlock()
	if silent == v.silent {
		return
	}
	v.silent = silent
	if silent {
		d.f.logger.Warn("source is silent, the next in line speaks for its symbols", "island", v.name, "reason", v.reason)
		return
	}
	d.f.logger.Info("source speaks again, it has its symbols back", "island", v.name)
}

// askGlobal asks how the market is, by the road of requests.
func (d *desk) askGlobal(ctx context.Context) {
	for ctx.Err() == nil {
		d.f.safely("ask for the global figures", func() {
			if len(d.f.r.routes.Load().Global.Sources) == 0 {
				return // There may be some after the next reload.
			}
			answer, err := d.f.r.Global(ctx, "usd")
			if err != nil {
				return
			}
			if g, ok := answer.Noun().(sdk.Global); ok {
				d.takeGlobal(g)
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(d.merger.poll):
		}
	}
}

// matched are the quotes of assets that were asked for, completed from the catalogue.
func (d *desk) matched(set *assetSet, source string, quotes []sdk.Quote) []sdk.Quote {
	out := make([]sdk.Quote, 0, len(quotes))
	for _, q := range quotes {
		asset, ok := set.find(q.ID, q.Symbol)
		if !ok || (q.VsCurrency != "" && q.VsCurrency != "usd") {
			d.counts.notAsked.Add(1)
			continue
		}
		q = completed(q, asset)
		q.Source, q.VsCurrency = source, "usd"
		out = append(out, q)
	}
	return out
}

// Pauses before a stream is opened again.
const (
	minReopenStream = 250 * time.Millisecond
	maxReopenStream = 15 * time.Second
)

// jittered is a random part of a pause, so that many who wait do not come at once.
func jittered(pause time.Duration) time.Duration { return rand.N(pause + 1) }

// Why a stream is opened again without being at fault.
var errNewAssets = errors.New("other assets are asked for")

// stream keeps a source's stream open.
func (d *desk) stream(ctx context.Context, source int) {
	v, pause := d.voices[source], minReopenStream
	for ctx.Err() == nil {
		set, changed := d.f.assets.now()
		if len(set.asked) == 0 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		began := d.now()
		spoke, err := d.listen(ctx, source, set, changed)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errNewAssets) {
			continue
		}
		if spoke && d.now().Sub(began) >= maxReopenStream {
			pause = minReopenStream // It stood for a while; one that breaks at once is not opened at that pace.
		}
		v.breaks.Add(1)
		if v.fails(err) {
			d.f.logger.Warn("a source's stream broke and is opened again", "island", v.name, "reason", sdk.KindOf(err).String(), "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(jittered(pause), sdk.RetryAfter(err))):
		}
		pause = min(2*pause, maxReopenStream)
	}
}

// listen hears a source's stream until it breaks, across the generations of its island. Spoke is whether quotes came.
func (d *desk) listen(ctx context.Context, source int, set *assetSet, changed <-chan struct{}) (spoke bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	listening := make(chan struct{})
	defer close(listening)
	d.f.work.Go(func() {
		select {
		case <-changed:
			cancel(errNewAssets)
		case <-listening:
		}
	})
	var quoted atomic.Bool
	err = d.f.r.relay(ctx, d.voices[source].name, 0, func(ctx context.Context, island process.Island, heard func()) error {
		err := error(sdk.Errorf(sdk.Internal, "the stream panicked"))
		d.f.safely("listen to a stream", func() {
			err = d.hear(ctx, island, source, set, func(batch sdk.QuoteBatch) {
				if len(batch.Quotes) > 0 {
					quoted.Store(true)
				}
				// A stream says that it stands before it has a price to tell, and as long the former one still has some.
				if len(batch.Quotes) > 0 || batch.Seq > 1 {
					heard()
				}
			})
		})
		return err
	})
	return quoted.Load(), err
}

// hear hears one stream until it breaks.
func (d *desk) hear(ctx context.Context, island process.Island, source int, set *assetSet, heard func(sdk.QuoteBatch)) error {
	v := d.voices[source]
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := 3 * d.f.opts.Heartbeat
	silence := time.AfterFunc(patience, func() {
		cancel(sdk.Errorf(sdk.Unavailable, "no batch and no heartbeat for %v", patience))
	})
	defer silence.Stop()
	var last uint64
	req := sdk.StreamRequest{Assets: set.asked, VsCurrency: "usd", Candles: d.f.r.store() != ""}
	err := island.Stream(ctx, req, func(batch sdk.QuoteBatch) error {
		silence.Reset(patience)
		if err := context.Cause(ctx); err != nil {
			return err
		}
		v.batches.Add(1)
		if v.works() {
			d.f.logger.Info("a source's stream stands again", "island", v.name)
		}
		if len(batch.Quotes) > 0 {
			d.take(source, d.matched(set, v.name, batch.Quotes))
		}
		d.f.candles(set, v.name, batch.Candles)
		heard(batch)
		missing := batch.Seq != last+1
		last = batch.Seq
		if missing {
			return sdk.Errorf(sdk.BadUpstream, "batches are missing before batch %d", batch.Seq)
		}
		return nil
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err == nil {
		err = sdk.Errorf(sdk.Unavailable, "the stream ended")
	}
	return err
}

// maxAsked is how many quotes a source is asked for at once.
const maxAsked = 250

// poll asks a source that cannot stream, at once and then again and again.
func (d *desk) poll(ctx context.Context, source int) {
	v := d.voices[source]
	for ctx.Err() == nil {
		set, changed := d.f.assets.now()
		wait := d.merger.poll
		if len(set.asked) > 0 {
			v.lastPoll.Store(d.now().UnixNano())
			err := error(sdk.Errorf(sdk.Internal, "the poll panicked"))
			d.f.safely("poll a source", func() { err = d.pollOnce(ctx, source, set) })
			wait = max(wait, sdk.RetryAfter(err))
		}
		if !d.pause(ctx, v, wait, changed) {
			return
		}
	}
}

// pause waits until a source is to be asked again, and reports whether it is.
func (d *desk) pause(ctx context.Context, v *voice, wait time.Duration, changed <-chan struct{}) bool {
	due := time.NewTimer(wait)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-due.C:
			return true
		case <-changed:
			return true
		case <-v.extra:
			if d.now().Sub(time.Unix(0, v.lastPoll.Load())) >= d.quiet {
				return true
			}
		}
	}
}

// pollOnce asks for all assets, in one call as long as there are not too many.
func (d *desk) pollOnce(ctx context.Context, source int, set *assetSet) error {
	v := d.voices[source]
	for start := 0; start < len(set.asked); start += maxAsked {
		asked := set.asked[start:min(start+maxAsked, len(set.asked))]
		v.polls.Add(1)
		err := d.f.r.sources.walk(ctx, []string{v.name}, noRetries, func(ctx context.Context, a attempt) error {
			quotes, err := a.island.Quotes(ctx, sdk.QuotesRequest{Assets: asked, VsCurrency: "usd", Retries: a.retries})
			if err != nil {
				return err
			}
			d.take(source, d.matched(set, v.name, quotes))
			return errEnough
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the desk is closed, which says nothing of the source
		}
		if err != nil {
			v.failures.Add(1)
			if v.fails(err) {
				d.f.logger.Warn("a source cannot be polled", "island", v.name, "reason", sdk.KindOf(err).String(), "error", err)
			}
			return err
		}
		if v.works() {
			d.f.logger.Info("a source can be polled again", "island", v.name)
		}
	}
	return nil
}
