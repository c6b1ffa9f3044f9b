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
// A version of the contract is a major and a minor, [Protocol]. This SDK speaks [ProtocolMajor] and [ProtocolMinor].
//
// The major is that of the handshake and of the protobuf package (islands.v1). It changes when something is taken away or means
// something else, which is not planned. Host and island have the same major or do not start: neither guesses. Who is behind and
// how to upgrade it is said by "islands validate", which reads the major in what "describe" prints, and again by the
// handshake, for a binary that was exchanged ([Protocol.Check]). A host speaks one major, so all islands of a host change with it.
//
// Minors only add: a field, a role, a call, a kind of failure, an attribute of a setting. What is there keeps its name, number,
// type and meaning, and an absent field means what it meant before there was one. So any two minors of a major go together:
// an island built years ago runs under a host of today, and the other way round; nobody rebuilds anything because the host
// was upgraded. Each side ignores what it does not know, and asks for no more than the other one can:
//
//   - The island says its minor in its manifest, and the host goes by roles and fields that are there.
//   - The host says its minor in Initialize. The island works with the lower of the two, which it finds in [Config].Protocol.
//
// The Go API follows the major: within it, names in this package and those below are added and never taken away. Interfaces
// do not grow; what is new is an interface, and a [Role], of its own.
//
// This is how it is kept. Each released minor is frozen in proto/released, and "make check" compares the contract with every one
// of them and with the last tag (buf breaking). The SDK of the previous minor is kept whole in process/testdata/previous; the tests
// build an island and a host from it, and run each with the other half of today. Who adds to the contract begins with
// "make next-minor", writes "Since 1.N" beside what is new, and says here what it is and what the other side does without it.
//
//   - 1.0: the first.
//   - 1.1: candles in streams ([StreamRequest].Candles, [QuoteBatch].Candles). An island of 1.0 streams quotes alone.
//   - 1.2: islands that must be stopped before their successor begins ([Manifest].StopFirst). A host of 1.1 starts the
//     successor first, or stops first whatever the island says.
package sdk
