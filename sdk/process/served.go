package process

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// served is the island's half: it answers every call of the contract from a component in this process.
type served struct {
	pb.UnimplementedIslandServiceServer
	pb.UnimplementedSourceServiceServer
	pb.UnimplementedCacheServiceServer
	pb.UnimplementedCoordinatorServiceServer
	pb.UnimplementedStoreServiceServer
	pb.UnimplementedReporterServiceServer

	manifest sdk.Manifest
	island   sdk.IslandComponent
	logger   *slog.Logger

	mu          sync.Mutex
	initialized bool // Initialize was called
	ready       bool // Initialize succeeded
}

func newServed(manifest sdk.Manifest, island sdk.IslandComponent, logger *slog.Logger) *served {
	return &served{manifest: manifest.Complete(island), island: island, logger: logger}
}

// register makes the island's services known to a server: the life always, each role's service when it has the role.
func (s *served) register(server grpc.ServiceRegistrar) {
	pb.RegisterIslandServiceServer(server, s)
	pb.RegisterSourceServiceServer(server, s)
	pb.RegisterCacheServiceServer(server, s)
	pb.RegisterCoordinatorServiceServer(server, s)
	pb.RegisterStoreServiceServer(server, s)
	pb.RegisterReporterServiceServer(server, s)
}

// unary wraps every unary call: the request id moves from the metadata into the context, a panic becomes an internal
// error with its stack in the log, and the island's error becomes a status.
func (s *served) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer s.recovered(info.FullMethod, &err)
	if err := s.admit(info.FullMethod); err != nil {
		return nil, errorToWire(err)
	}
	resp, err = handler(incoming(ctx), req)
	if err != nil {
		return nil, errorToWire(err)
	}
	return resp, nil
}

// stream does for streams what unary does for unary calls.
func (s *served) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer s.recovered(info.FullMethod, &err)
	if err := s.admit(info.FullMethod); err != nil {
		return errorToWire(err)
	}
	return errorToWire(handler(srv, &contextStream{ServerStream: stream, ctx: incoming(stream.Context())}))
}

// contextStream is a stream with another context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands its context out through a method
}

// Context returns the stream's context.
func (s *contextStream) Context() context.Context { return s.ctx }

// incoming moves the request id from the metadata into the context.
func incoming(ctx context.Context) context.Context {
	if ids := metadata.ValueFromIncomingContext(ctx, requestIDHeader); len(ids) > 0 {
		return sdk.WithRequestID(ctx, ids[0])
	}
	return ctx
}

// recovered turns a panic into an internal error. The island goes on: one bad answer must not end all others.
func (s *served) recovered(method string, err *error) {
	if r := recover(); r != nil {
		s.logger.Error("panic in "+method, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = errorToWire(sdk.Errorf(sdk.Internal, "the island panicked in %s", method))
	}
}

// admit refuses a role's call that comes before Initialize, which a component is never to see.
func (s *served) admit(method string) error {
	if strings.HasPrefix(method, "/islands.v1.IslandService/") || !strings.HasPrefix(method, "/islands.v1.") {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return sdk.Errorf(sdk.Unavailable, "%s came before Initialize", method)
	}
	return nil
}

// role returns the component as a role, or Unsupported when it does not have it.
func role[R any](s *served, name sdk.Role) (R, error) {
	r, ok := s.island.(R)
	if !ok {
		return r, sdk.Errorf(sdk.Unsupported, "island %q does not have the role %s", s.manifest.Name, name)
	}
	return r, nil
}

// Manifest answers what the island is.
func (s *served) Manifest(context.Context, *pb.ManifestRequest) (*pb.ManifestResponse, error) {
	return &pb.ManifestResponse{Manifest: manifestToWire(s.manifest)}, nil
}

// Initialize initializes the component, once.
func (s *served) Initialize(ctx context.Context, req *pb.InitializeRequest) (*pb.InitializeResponse, error) {
	values := map[string]any{}
	if text := req.GetSettingsJson(); text != "" {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&values); err != nil {
			return nil, sdk.Errorf(sdk.InvalidArgument, "settings are not a JSON object")
		}
	}
	s.mu.Lock()
	again := s.initialized
	s.initialized = true
	s.mu.Unlock()
	if again {
		return nil, sdk.Errorf(sdk.InvalidArgument, "Initialize was called twice")
	}
	ours := sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}
	common := ours.Common(sdk.Protocol{Major: sdk.ProtocolMajor, Minor: max(0, int(req.GetProtocolMinor()))})
	err := s.island.Initialize(ctx, sdk.Config{Name: req.GetName(), Values: values, Protocol: common, Logger: s.logger})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	return &pb.InitializeResponse{}, nil
}

// Health answers how the island is; before Initialize it is failed.
func (s *served) Health(ctx context.Context, _ *pb.HealthRequest) (*pb.HealthResponse, error) {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready {
		return healthToWire(sdk.Failed("not initialized")), nil
	}
	return healthToWire(s.island.Health(ctx)), nil
}

// Metrics answers what the island counts; before Initialize that is nothing.
func (s *served) Metrics(ctx context.Context, _ *pb.MetricsRequest) (*pb.MetricsResponse, error) {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready {
		return &pb.MetricsResponse{}, nil
	}
	metrics, err := s.island.Metrics(ctx)
	return &pb.MetricsResponse{Metrics: each(metrics, metricToWire)}, err
}

// Shutdown shuts the component down.
func (s *served) Shutdown(ctx context.Context, _ *pb.ShutdownRequest) (*pb.ShutdownResponse, error) {
	return &pb.ShutdownResponse{}, s.island.Shutdown(ctx)
}

// Quotes answers the role quotes.
func (s *served) Quotes(ctx context.Context, req *pb.QuotesRequest) (*pb.QuotesResponse, error) {
	source, err := role[sdk.QuoteSource](s, sdk.RoleQuotes)
	if err != nil {
		return nil, err
	}
	quotes, err := source.Quotes(ctx, sdk.QuotesRequest{
		Assets: each(req.GetAssets(), assetFromWire), VsCurrency: req.GetVsCurrency(), Retries: int(req.GetRetries()),
	})
	return &pb.QuotesResponse{Quotes: each(quotes, quoteToWire)}, err
}

// Candles answers the role candles.
func (s *served) Candles(ctx context.Context, req *pb.CandlesRequest) (*pb.CandlesResponse, error) {
	source, err := role[sdk.CandleSource](s, sdk.RoleCandles)
	if err != nil {
		return nil, err
	}
	candles, err := source.Candles(ctx, sdk.CandlesRequest{
		Asset: assetFromWire(req.GetAsset()), VsCurrency: req.GetVsCurrency(), Interval: sdk.Interval(req.GetInterval()),
		Limit: int(req.GetLimit()), Retries: int(req.GetRetries()),
	})
	return &pb.CandlesResponse{Series: candlesToWire(candles)}, err
}

// Global answers the role global.
func (s *served) Global(ctx context.Context, req *pb.GlobalRequest) (*pb.GlobalResponse, error) {
	source, err := role[sdk.GlobalSource](s, sdk.RoleGlobal)
	if err != nil {
		return nil, err
	}
	global, err := source.Global(ctx, sdk.GlobalRequest{VsCurrency: req.GetVsCurrency(), Retries: int(req.GetRetries())})
	return &pb.GlobalResponse{Global: globalToWire(global)}, err
}

// Sentiment answers the role sentiment.
func (s *served) Sentiment(ctx context.Context, req *pb.SentimentRequest) (*pb.SentimentResponse, error) {
	source, err := role[sdk.SentimentSource](s, sdk.RoleSentiment)
	if err != nil {
		return nil, err
	}
	sentiment, err := source.Sentiment(ctx, sdk.SentimentRequest{Retries: int(req.GetRetries())})
	return &pb.SentimentResponse{Sentiment: sentimentToWire(sentiment)}, err
}

// Catalogue answers the role catalogue.
func (s *served) Catalogue(ctx context.Context, req *pb.CatalogueRequest) (*pb.CatalogueResponse, error) {
	source, err := role[sdk.CatalogueSource](s, sdk.RoleCatalogue)
	if err != nil {
		return nil, err
	}
	assets, err := source.Catalogue(ctx, sdk.CatalogueRequest{Retries: int(req.GetRetries())})
	return &pb.CatalogueResponse{Assets: each(assets, assetToWire)}, err
}

// Stream answers the role stream.
func (s *served) Stream(req *pb.StreamRequest, stream grpc.ServerStreamingServer[pb.StreamResponse]) error {
	source, err := role[sdk.StreamSource](s, sdk.RoleStream)
	if err != nil {
		return err
	}
	return source.Stream(stream.Context(), sdk.StreamRequest{
		Assets: each(req.GetAssets(), assetFromWire), VsCurrency: req.GetVsCurrency(), Candles: req.GetCandles(),
	}, func(batch sdk.QuoteBatch) error {
		return stream.Send(&pb.StreamResponse{
			Seq: batch.Seq, Quotes: each(batch.Quotes, quoteToWire), Candles: each(batch.Candles, candlesToWire),
		})
	})
}

// Lookup answers the role cache.
func (s *served) Lookup(ctx context.Context, req *pb.LookupRequest) (*pb.LookupResponse, error) {
	cache, err := role[sdk.Cache](s, sdk.RoleCache)
	if err != nil {
		return nil, err
	}
	results, err := cache.Lookup(ctx, req.GetKeys())
	resp := &pb.LookupResponse{Results: each(results, func(l sdk.Lookup) *pb.LookupResult {
		return &pb.LookupResult{Found: l.Found, Entry: entryToWire(l.Entry), Tier: l.Tier}
	})}
	if len(results) > 0 {
		resp.Version = results[0].Version
	}
	return resp, err
}

// Fill answers the role cache.
func (s *served) Fill(ctx context.Context, req *pb.FillRequest) (*pb.FillResponse, error) {
	cache, err := role[sdk.Cache](s, sdk.RoleCache)
	if err != nil {
		return nil, err
	}
	taken, err := cache.Fill(ctx, each(req.GetEntries(), entryFromWire))
	return &pb.FillResponse{Taken: int32(taken)}, err
}

// Invalidate answers the role cache.
func (s *served) Invalidate(ctx context.Context, req *pb.InvalidateRequest) (*pb.InvalidateResponse, error) {
	cache, err := role[sdk.Cache](s, sdk.RoleCache)
	if err != nil {
		return nil, err
	}
	forgotten, err := cache.Invalidate(ctx, req.GetPatterns())
	return &pb.InvalidateResponse{Forgotten: int32(forgotten)}, err
}

// Watch answers the role cache.
func (s *served) Watch(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	cache, err := role[sdk.Cache](s, sdk.RoleCache)
	if err != nil {
		return err
	}
	return cache.Watch(stream.Context(), func(e sdk.CacheEvent) error {
		return stream.Send(&pb.WatchResponse{
			Type: pb.CacheEventType(e.Type), Epoch: e.Epoch, Version: e.Version, Patterns: e.Patterns, Shared: e.Shared,
		})
	})
}

// SetTier answers the role cache.
func (s *served) SetTier(ctx context.Context, req *pb.SetTierRequest) (*pb.SetTierResponse, error) {
	cache, err := role[sdk.Cache](s, sdk.RoleCache)
	if err != nil {
		return nil, err
	}
	return &pb.SetTierResponse{}, cache.SetTier(ctx, req.GetTier(), req.GetEnabled())
}

// Acquire answers the role coordinator.
func (s *served) Acquire(ctx context.Context, req *pb.AcquireRequest) (*pb.AcquireResponse, error) {
	coordinator, err := role[sdk.Coordinator](s, sdk.RoleCoordinator)
	if err != nil {
		return nil, err
	}
	lease, err := coordinator.Acquire(ctx, sdk.LeaseRequest{Name: req.GetName(), Owner: req.GetOwner(), TTL: req.GetTtl().AsDuration()})
	return &pb.AcquireResponse{Token: lease.Token, ExpiresAt: timeToWire(lease.ExpiresAt)}, err
}

// Release answers the role coordinator.
func (s *served) Release(ctx context.Context, req *pb.ReleaseRequest) (*pb.ReleaseResponse, error) {
	coordinator, err := role[sdk.Coordinator](s, sdk.RoleCoordinator)
	if err != nil {
		return nil, err
	}
	return &pb.ReleaseResponse{}, coordinator.Release(ctx, sdk.LeaseRequest{Name: req.GetName(), Owner: req.GetOwner()})
}

// Publish answers the role coordinator.
func (s *served) Publish(ctx context.Context, req *pb.PublishRequest) (*pb.PublishResponse, error) {
	coordinator, err := role[sdk.Coordinator](s, sdk.RoleCoordinator)
	if err != nil {
		return nil, err
	}
	id, err := coordinator.Publish(ctx, sdk.Message{Channel: req.GetChannel(), Token: req.GetToken(), Payload: req.GetPayload()})
	return &pb.PublishResponse{Id: id}, err
}

// Subscribe answers the role coordinator.
func (s *served) Subscribe(req *pb.SubscribeRequest, stream grpc.ServerStreamingServer[pb.SubscribeResponse]) error {
	coordinator, err := role[sdk.Coordinator](s, sdk.RoleCoordinator)
	if err != nil {
		return err
	}
	return coordinator.Subscribe(stream.Context(), req.GetChannel(), req.GetAfter(), func(m sdk.Message) error {
		return stream.Send(&pb.SubscribeResponse{Id: m.ID, Token: m.Token, Payload: m.Payload})
	})
}

// Take answers the role coordinator.
func (s *served) Take(ctx context.Context, req *pb.TakeRequest) (*pb.TakeResponse, error) {
	coordinator, err := role[sdk.Coordinator](s, sdk.RoleCoordinator)
	if err != nil {
		return nil, err
	}
	return &pb.TakeResponse{}, coordinator.Take(ctx, sdk.BudgetRequest{
		Name: req.GetName(), N: int(req.GetN()), Limit: int(req.GetLimit()), Window: req.GetWindow().AsDuration(),
	})
}

// SaveQuotes answers the role store.
func (s *served) SaveQuotes(ctx context.Context, req *pb.SaveQuotesRequest) (*pb.SaveQuotesResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	return &pb.SaveQuotesResponse{}, store.SaveQuotes(ctx, each(req.GetQuotes(), quoteFromWire))
}

// SaveCandles answers the role store.
func (s *served) SaveCandles(ctx context.Context, req *pb.SaveCandlesRequest) (*pb.SaveCandlesResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	return &pb.SaveCandlesResponse{}, store.SaveCandles(ctx, each(req.GetSeries(), candlesFromWire))
}

// History answers the role store.
func (s *served) History(ctx context.Context, req *pb.HistoryRequest) (*pb.HistoryResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	page, err := store.History(ctx, sdk.HistoryRequest{
		Symbol: req.GetSymbol(), VsCurrency: req.GetVsCurrency(), From: timeFromWire(req.GetFrom()), To: timeFromWire(req.GetTo()),
		Limit: int(req.GetLimit()), Cursor: req.GetCursor(),
	})
	return &pb.HistoryResponse{Quotes: each(page.Quotes, quoteToWire), Next: page.Next}, err
}

// StoredCandles answers the role store.
func (s *served) StoredCandles(ctx context.Context, req *pb.StoredCandlesRequest) (*pb.StoredCandlesResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	candles, err := store.StoredCandles(ctx, sdk.CandlesRequest{
		Asset: assetFromWire(req.GetAsset()), VsCurrency: req.GetVsCurrency(), Interval: sdk.Interval(req.GetInterval()),
		Limit: int(req.GetLimit()),
	})
	return &pb.StoredCandlesResponse{Series: candlesToWire(candles)}, err
}

// Remember answers the role store.
func (s *served) Remember(ctx context.Context, req *pb.RememberRequest) (*pb.RememberResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	return &pb.RememberResponse{}, store.Remember(ctx, each(req.GetEntries(), entryFromWire))
}

// Recall answers the role store.
func (s *served) Recall(ctx context.Context, req *pb.RecallRequest) (*pb.RecallResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	entries, err := store.Recall(ctx, req.GetKeys())
	return &pb.RecallResponse{Entries: each(entries, entryToWire)}, err
}

// Forget answers the role store.
func (s *served) Forget(ctx context.Context, req *pb.ForgetRequest) (*pb.ForgetResponse, error) {
	store, err := role[sdk.Store](s, sdk.RoleStore)
	if err != nil {
		return nil, err
	}
	forgotten, err := store.Forget(ctx, req.GetPatterns())
	return &pb.ForgetResponse{Forgotten: int32(forgotten)}, err
}

// Report answers the role reporter.
func (s *served) Report(ctx context.Context, req *pb.ReportRequest) (*pb.ReportResponse, error) {
	reporter, err := role[sdk.Reporter](s, sdk.RoleReporter)
	if err != nil {
		return nil, err
	}
	report, err := reporter.Report(ctx, reportRequestFromWire(req))
	return reportToWire(report), err
}
