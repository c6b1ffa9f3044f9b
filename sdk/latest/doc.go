// Package latest is the queue between an upstream that pushes and a host that may be busy, for authors of streaming
// sources. It holds the newest quote of each asset and nothing older: a host that pauses for a minute comes back to one
// quote per asset, not to a minute of them, and the upstream is never kept waiting. Closed candles are facts, which no
// newer one makes untrue: they wait beside the quotes, the newest of each asset and interval up to a bound, and leave in
// the same batches.
//
//	func (s *source) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
//		ctx, cancel := context.WithCancel(ctx)
//		defer cancel()
//		queue := latest.New()
//		var reading sync.WaitGroup
//		defer reading.Wait()
//		defer cancel() // Deferred last, so run first: it is what ends the reading.
//		reading.Go(func() { queue.Fail(s.read(ctx, req, func(q sdk.Quote) { queue.Put(q) })) })
//		return queue.Run(ctx, emit, latest.Options{MinInterval: 100 * time.Millisecond})
//	}
//
// # Design
//
// An asset is known by its id, its symbol and its currency together, because several assets may share a symbol. Memory
// is bounded by the number of assets that are put, twice: those that wait and those that are being emitted. A source
// puts what it was asked for, so that it is the host who sets the bound. Of candles it is MaxCandles times as much: with
// the default, the two hours that two thousand assets missed still are one message of a size that the wire takes.
//
// Candles that wait for a receiver are merged into one series per asset and interval, so that whoever was away finds one
// run and not its pieces. What was emitted is forgotten: a source whose upstream repeats candles knows the last one of
// each asset itself, at the cost of one number, where the queue would have to keep them all.
//
// A batch holds its quotes in the order in which their assets came to wait, so that an asset that moves all the time
// cannot push a calm one back.
//
// The first quote after a pause goes out at once and only those that follow within MinInterval wait for each other: a
// lone change is not delayed, and a burst becomes one batch.
//
// A heartbeat says that the source is alive, not that its upstream is: whoever wants to know how old a price is looks at
// the quotes.
package latest
