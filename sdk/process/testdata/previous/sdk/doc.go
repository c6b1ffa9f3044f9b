// Package sdk is the contract between the Service Islands host and its islands: plain Go nouns and interfaces, and
// nothing else. It is all an author of an island needs to know.
//
// An island is a program of its own. It implements [IslandComponent], adds roles by implementing more interfaces
// ([QuoteSource], [CandleSource], [Cache], [Store], [Reporter] and the others), says what it is in a [Manifest], and
// hands both to process.Serve. This is a whole one:
//
//	package main
//
//	type settings struct {
//		URL string `setting:"url" default:"https://api.example.com" doc:"Base URL of the service."`
//	}
//
//	type source struct {
//		upstream.Life // has the client, and answers Health, Metrics and Shutdown for it
//	}
//
//	func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
//		var set settings
//		if err := cfg.Decode(&set); err != nil {
//			return err
//		}
//		s.Client = upstream.New(upstream.Options{BaseURL: set.URL, Logger: cfg.Logger})
//		return nil
//	}
//
//	func (s *source) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
//		var body struct{ Value sdk.Number }
//		err := s.Client.GetJSON(ctx, upstream.Request{Path: "/mood", Retries: req.Retries}, &body)
//		return sdk.Sentiment{Value: body.Value}, err
//	}
//
//	func main() {
//		process.Serve(sdk.Manifest{Name: "mood", Version: "1.0.0", Layer: sdk.LayerExternalServices,
//			Description: "How the market feels.", Settings: sdk.SettingsOf(settings{})}, &source{})
//	}
//
// Package process runs islands, package upstream is the polite HTTP client for sources, package islandtest is the
// conformance kit that every island runs, and proto/islands/v1 is the same contract for other languages.
//
// # Design
//
// Interfaces are small, one question each, because an island should implement what it can do and nothing more. The
// island's own process asserts them once and lists them in its manifest; the host reads that list and never asserts
// across the wire, where a remote stand-in implements everything.
//
// Figures are [Number], which may be unknown, because the alternative to "unknown" is an invented zero.
//
// Failures are a closed list of [Kind]. A Kind is an error value, so errors.Is(err, sdk.NotFound) is true on both sides
// of the process boundary, whatever was wrapped around it on the way.
//
// Settings cross the wire as JSON, because every language has a decoder for it and the host has already checked them
// against the manifest; the strict decoding in [Config.Decode] is the island's own second look.
//
// The cache and the store share [Entry], because the host treats them as one ladder of memory: near cache, cache, store.
//
// # Versions
//
// [ProtocolMajor] is the version of the protobuf package and of the handshake: it changes when something is taken away,
// which is never planned. [ProtocolMinor] counts additions. An island built with an older minor runs under a newer
// host and the other way round; each side ignores what it does not know.
//
//   - 1.1: candles in streams ([StreamRequest].Candles, [QuoteBatch].Candles). An island of 1.0 streams quotes alone.
package sdk
