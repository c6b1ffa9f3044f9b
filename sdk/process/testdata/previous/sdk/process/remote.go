package process

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// requestIDHeader carries the id of the client's request in the metadata of a call.
const requestIDHeader = "islands-request-id"

// remote is the host's half of an island: every call of the contract over one gRPC connection.
type remote struct {
	name     string
	observer Observer
	manifest sdk.Manifest

	island      pb.IslandServiceClient
	source      pb.SourceServiceClient
	cache       pb.CacheServiceClient
	coordinator pb.CoordinatorServiceClient
	store       pb.StoreServiceClient
	reporter    pb.ReporterServiceClient
}

var _ Island = (*remote)(nil)

func newRemote(name string, observer Observer, conn grpc.ClientConnInterface) *remote {
	return &remote{
		name: name, observer: observer,
		island: pb.NewIslandServiceClient(conn), source: pb.NewSourceServiceClient(conn), cache: pb.NewCacheServiceClient(conn),
		coordinator: pb.NewCoordinatorServiceClient(conn), store: pb.NewStoreServiceClient(conn),
		reporter: pb.NewReporterServiceClient(conn),
	}
}

// begin starts a call: the request id goes into its metadata, and the observer is told. The function it returns is
// called with the call's raw error and returns the error to hand on.
func (r *remote) begin(ctx context.Context, operation string) (context.Context, func(error) error) {
	if id := sdk.RequestID(ctx); id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, requestIDHeader, id)
	}
	done := func(error) {}
	if r.observer != nil {
		ctx, done = r.observer.Begin(ctx, r.name, operation)
	}
	return ctx, func(err error) error {
		if err = errorFromWire(err); closed(ctx, err) {
			err = sdk.Errorf(sdk.Unavailable, "the island %s has ended", r.name)
		}
		done(err)
		return err
	}
}

// closed reports whether a call was cancelled by the end of the connection and not by its caller.
func closed(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && strings.HasSuffix(err.Error(), "the client connection is closing")
}

// call makes a unary call observed under an operation's name.
func call[Req, Resp any](ctx context.Context, r *remote, operation string,
	method func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req,
) (Resp, error) {
	ctx, end := r.begin(ctx, operation)
	resp, err := method(ctx, req)
	return resp, end(err)
}

// receive hands every message of a stream to emit and returns why the stream ended. The context of the stream is
// cancelled when emit fails, so that the island hears of it.
func receive[Resp any](ctx context.Context, r *remote, operation string,
	open func(context.Context) (grpc.ServerStreamingClient[Resp], error), emit func(*Resp) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, end := r.begin(ctx, operation)
	stream, err := open(ctx)
	if err != nil {
		return end(err)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return end(sdk.Errorf(sdk.Unavailable, "the island ended the stream %s", operation))
		}
		if err != nil {
			return end(err)
		}
		if err := emit(message); err != nil {
			return end(err)
		}
	}
}

func (r *remote) fetchManifest(ctx context.Context) (sdk.Manifest, error) {
	resp, err := call(ctx, r, "manifest", r.island.Manifest, &pb.ManifestRequest{})
	if err != nil {
		return sdk.Manifest{}, err
	}
	return manifestFromWire(resp.GetManifest()), nil
}

// Initialize implements sdk.IslandComponent. The logger of cfg stays on this side.
func (r *remote) Initialize(ctx context.Context, cfg sdk.Config) error {
	values := cfg.Values
	if values == nil {
		values = map[string]any{}
	}
	settings, err := json.Marshal(values)
	if err != nil {
		return sdk.Errorf(sdk.InvalidArgument, "settings of %s cannot be sent: %w", cfg.Name, err)
	}
	_, err = call(ctx, r, "initialize", r.island.Initialize, &pb.InitializeRequest{
		Name: cfg.Name, SettingsJson: string(settings), ProtocolMinor: sdk.ProtocolMinor,
	})
	return err
}

// Health implements sdk.IslandComponent. An island that cannot be asked is failed.
func (r *remote) Health(ctx context.Context) sdk.Health {
	resp, err := call(ctx, r, "health", r.island.Health, &pb.HealthRequest{})
	if err != nil {
		return sdk.Failed("does not answer: " + sdk.KindOf(err).String())
	}
	return healthFromWire(resp)
}

// Metrics implements sdk.IslandComponent.
func (r *remote) Metrics(ctx context.Context) (sdk.Metrics, error) {
	resp, err := call(ctx, r, "metrics", r.island.Metrics, &pb.MetricsRequest{})
	if err != nil {
		return nil, err
	}
	return each(resp.GetMetrics(), metricFromWire), nil
}

// Shutdown implements sdk.IslandComponent.
func (r *remote) Shutdown(ctx context.Context) error {
	_, err := call(ctx, r, "shutdown", r.island.Shutdown, &pb.ShutdownRequest{})
	return err
}

// Quotes implements sdk.QuoteSource.
func (r *remote) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	resp, err := call(ctx, r, "quotes", r.source.Quotes, &pb.QuotesRequest{
		Assets: each(req.Assets, assetToWire), VsCurrency: req.VsCurrency, Retries: int32(req.Retries),
	})
	if err != nil {
		return nil, err
	}
	return each(resp.GetQuotes(), quoteFromWire), nil
}

// Candles implements sdk.CandleSource.
func (r *remote) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	resp, err := call(ctx, r, "candles", r.source.Candles, &pb.CandlesRequest{
		Asset: assetToWire(req.Asset), VsCurrency: req.VsCurrency, Interval: string(req.Interval),
		Limit: int32(req.Limit), Retries: int32(req.Retries),
	})
	if err != nil {
		return sdk.Candles{}, err
	}
	return candlesFromWire(resp.GetSeries()), nil
}

// Global implements sdk.GlobalSource.
func (r *remote) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	resp, err := call(ctx, r, "global", r.source.Global, &pb.GlobalRequest{VsCurrency: req.VsCurrency, Retries: int32(req.Retries)})
	if err != nil {
		return sdk.Global{}, err
	}
	return globalFromWire(resp.GetGlobal()), nil
}

// Sentiment implements sdk.SentimentSource.
func (r *remote) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	resp, err := call(ctx, r, "sentiment", r.source.Sentiment, &pb.SentimentRequest{Retries: int32(req.Retries)})
	if err != nil {
		return sdk.Sentiment{}, err
	}
	return sentimentFromWire(resp.GetSentiment()), nil
}

// Catalogue implements sdk.CatalogueSource.
func (r *remote) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	resp, err := call(ctx, r, "catalogue", r.source.Catalogue, &pb.CatalogueRequest{Retries: int32(req.Retries)})
	if err != nil {
		return nil, err
	}
	return each(resp.GetAssets(), assetFromWire), nil
}

// Stream implements sdk.StreamSource.
func (r *remote) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	return receive(ctx, r, "stream",
		func(ctx context.Context) (grpc.ServerStreamingClient[pb.StreamResponse], error) {
			return r.source.Stream(ctx, &pb.StreamRequest{
				Assets: each(req.Assets, assetToWire), VsCurrency: req.VsCurrency, Candles: req.Candles,
			})
		},
		func(m *pb.StreamResponse) error {
			return emit(sdk.QuoteBatch{
				Seq: m.GetSeq(), Quotes: each(m.GetQuotes(), quoteFromWire), Candles: each(m.GetCandles(), candlesFromWire),
			})
		})
}

// Lookup implements sdk.Cache.
func (r *remote) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	resp, err := call(ctx, r, "cache_lookup", r.cache.Lookup, &pb.LookupRequest{Keys: keys})
	if err != nil {
		return nil, err
	}
	if len(resp.GetResults()) != len(keys) {
		return nil, sdk.Errorf(sdk.Internal, "the cache answered %d results for %d keys", len(resp.GetResults()), len(keys))
	}
	return each(resp.GetResults(), func(l *pb.LookupResult) sdk.Lookup {
		return sdk.Lookup{Found: l.GetFound(), Entry: entryFromWire(l.GetEntry()), Tier: l.GetTier(), Version: resp.GetVersion()}
	}), nil
}

// Fill implements sdk.Cache.
func (r *remote) Fill(ctx context.Context, entries []sdk.Entry) (int, error) {
	resp, err := call(ctx, r, "cache_fill", r.cache.Fill, &pb.FillRequest{Entries: each(entries, entryToWire)})
	return int(resp.GetTaken()), err
}

// Invalidate implements sdk.Cache.
func (r *remote) Invalidate(ctx context.Context, patterns []string) (int, error) {
	resp, err := call(ctx, r, "cache_invalidate", r.cache.Invalidate, &pb.InvalidateRequest{Patterns: patterns})
	return int(resp.GetForgotten()), err
}

// Watch implements sdk.Cache.
func (r *remote) Watch(ctx context.Context, emit func(sdk.CacheEvent) error) error {
	return receive(ctx, r, "cache_watch",
		func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchResponse], error) {
			return r.cache.Watch(ctx, &pb.WatchRequest{})
		},
		func(m *pb.WatchResponse) error {
			return emit(sdk.CacheEvent{
				Type: sdk.CacheEventType(m.GetType()), Epoch: m.GetEpoch(), Version: m.GetVersion(),
				Patterns: m.GetPatterns(), Shared: m.GetShared(),
			})
		})
}

// SetTier implements sdk.Cache.
func (r *remote) SetTier(ctx context.Context, tier string, enabled bool) error {
	_, err := call(ctx, r, "cache_set_tier", r.cache.SetTier, &pb.SetTierRequest{Tier: tier, Enabled: enabled})
	return err
}

// Acquire implements sdk.Coordinator.
func (r *remote) Acquire(ctx context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	resp, err := call(ctx, r, "lease_acquire", r.coordinator.Acquire, &pb.AcquireRequest{
		Name: req.Name, Owner: req.Owner, Ttl: durationToWire(req.TTL),
	})
	if err != nil {
		return sdk.Lease{}, err
	}
	return sdk.Lease{Token: resp.GetToken(), ExpiresAt: timeFromWire(resp.GetExpiresAt())}, nil
}

// Release implements sdk.Coordinator.
func (r *remote) Release(ctx context.Context, req sdk.LeaseRequest) error {
	_, err := call(ctx, r, "lease_release", r.coordinator.Release, &pb.ReleaseRequest{Name: req.Name, Owner: req.Owner})
	return err
}

// Publish implements sdk.Coordinator.
func (r *remote) Publish(ctx context.Context, msg sdk.Message) (string, error) {
	resp, err := call(ctx, r, "publish", r.coordinator.Publish, &pb.PublishRequest{
		Channel: msg.Channel, Token: msg.Token, Payload: msg.Payload,
	})
	return resp.GetId(), err
}

// Subscribe implements sdk.Coordinator.
func (r *remote) Subscribe(ctx context.Context, channel, after string, emit func(sdk.Message) error) error {
	return receive(ctx, r, "subscribe",
		func(ctx context.Context) (grpc.ServerStreamingClient[pb.SubscribeResponse], error) {
			return r.coordinator.Subscribe(ctx, &pb.SubscribeRequest{Channel: channel, After: after})
		},
		func(m *pb.SubscribeResponse) error {
			return emit(sdk.Message{Channel: channel, ID: m.GetId(), Token: m.GetToken(), Payload: m.GetPayload()})
		})
}

// Take implements sdk.Coordinator.
func (r *remote) Take(ctx context.Context, req sdk.BudgetRequest) error {
	_, err := call(ctx, r, "budget_take", r.coordinator.Take, &pb.TakeRequest{
		Name: req.Name, N: int32(req.N), Limit: int32(req.Limit), Window: durationToWire(req.Window),
	})
	return err
}

// SaveQuotes implements sdk.Store.
func (r *remote) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	_, err := call(ctx, r, "store_save_quotes", r.store.SaveQuotes, &pb.SaveQuotesRequest{Quotes: each(quotes, quoteToWire)})
	return err
}

// SaveCandles implements sdk.Store.
func (r *remote) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	_, err := call(ctx, r, "store_save_candles", r.store.SaveCandles, &pb.SaveCandlesRequest{Series: each(series, candlesToWire)})
	return err
}

// History implements sdk.Store.
func (r *remote) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	resp, err := call(ctx, r, "store_history", r.store.History, &pb.HistoryRequest{
		Symbol: req.Symbol, VsCurrency: req.VsCurrency, From: timeToWire(req.From), To: timeToWire(req.To),
		Limit: int32(req.Limit), Cursor: req.Cursor,
	})
	if err != nil {
		return sdk.HistoryPage{}, err
	}
	return sdk.HistoryPage{Quotes: each(resp.GetQuotes(), quoteFromWire), Next: resp.GetNext()}, nil
}

// StoredCandles implements sdk.Store.
func (r *remote) StoredCandles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	resp, err := call(ctx, r, "store_candles", r.store.StoredCandles, &pb.StoredCandlesRequest{
		Asset: assetToWire(req.Asset), VsCurrency: req.VsCurrency, Interval: string(req.Interval), Limit: int32(req.Limit),
	})
	if err != nil {
		return sdk.Candles{}, err
	}
	return candlesFromWire(resp.GetSeries()), nil
}

// Remember implements sdk.Store.
func (r *remote) Remember(ctx context.Context, entries []sdk.Entry) error {
	_, err := call(ctx, r, "store_remember", r.store.Remember, &pb.RememberRequest{Entries: each(entries, entryToWire)})
	return err
}

// Recall implements sdk.Store.
func (r *remote) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	resp, err := call(ctx, r, "store_recall", r.store.Recall, &pb.RecallRequest{Keys: keys})
	if err != nil {
		return nil, err
	}
	return each(resp.GetEntries(), entryFromWire), nil
}

// Forget implements sdk.Store.
func (r *remote) Forget(ctx context.Context, patterns []string) (int, error) {
	resp, err := call(ctx, r, "store_forget", r.store.Forget, &pb.ForgetRequest{Patterns: patterns})
	return int(resp.GetForgotten()), err
}

// Reports implements sdk.Reporter from the manifest, without a call.
func (r *remote) Reports() []sdk.ReportSpec { return r.manifest.Reports }

// Report implements sdk.Reporter.
func (r *remote) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	resp, err := call(ctx, r, "report", r.reporter.Report, reportRequestToWire(req))
	if err != nil {
		return sdk.Report{}, err
	}
	return reportFromWire(resp), nil
}
