package process

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// This file translates every noun of the contract to the wire and back: xToWire and xFromWire, side by side. Unknown
// numbers and zero times are absent on the wire.

// each translates a list.
func each[A, B any](list []A, translate func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, len(list))
	for i, item := range list {
		out[i] = translate(item)
	}
	return out
}

// maybe translates what a pointer points to, nil to the zero value.
func maybe[A, B any](a *A, translate func(A) B) (b B) {
	if a == nil {
		return b
	}
	return translate(*a)
}

// present translates a message to a pointer to its noun, nil to nil.
func present[A any, B any](a *A, translate func(*A) B) *B {
	if a == nil {
		return nil
	}
	b := translate(a)
	return &b
}

func numberToWire(n sdk.Number) *float64 {
	if f, ok := n.Float64(); ok {
		return &f
	}
	return nil
}

func numberFromWire(f *float64) sdk.Number {
	if f == nil {
		return sdk.Number{}
	}
	return sdk.Known(*f)
}

func timeToWire(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeFromWire(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func durationToWire(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func manifestToWire(m sdk.Manifest) *pb.Manifest {
	return &pb.Manifest{
		Name: m.Name, Version: m.Version, Layer: uint32(m.Layer), Description: m.Description,
		ProtocolMajor: int32(m.Protocol.Major), ProtocolMinor: int32(m.Protocol.Minor),
		Roles: each(m.Roles, func(r sdk.Role) string { return string(r) }),
		Settings: each(m.Settings, func(s sdk.Setting) *pb.Setting {
			return &pb.Setting{
				Name: s.Name, Type: string(s.Type), Default: s.Default, Doc: s.Doc, Secret: s.Secret, Required: s.Required,
			}
		}),
		Reports: each(m.Reports, func(r sdk.ReportSpec) *pb.ReportSpec {
			return &pb.ReportSpec{
				Name: r.Name, Formats: r.Formats, Quote: r.Needs.Quote, Global: r.Needs.Global, Sentiment: r.Needs.Sentiment,
				DailyCandles: int32(r.Needs.DailyCandles), CrossCheck: r.Needs.CrossCheck,
			}
		}),
	}
}

func manifestFromWire(m *pb.Manifest) sdk.Manifest {
	return sdk.Manifest{
		Name: m.GetName(), Version: m.GetVersion(), Layer: sdk.Layer(min(m.GetLayer(), 255)), Description: m.GetDescription(),
		Protocol: sdk.Protocol{Major: int(m.GetProtocolMajor()), Minor: int(m.GetProtocolMinor())},
		Roles:    each(m.GetRoles(), func(r string) sdk.Role { return sdk.Role(r) }),
		Settings: each(m.GetSettings(), func(s *pb.Setting) sdk.Setting {
			return sdk.Setting{
				Name: s.GetName(), Type: sdk.SettingType(s.GetType()), Default: s.GetDefault(), Doc: s.GetDoc(),
				Secret: s.GetSecret(), Required: s.GetRequired(),
			}
		}),
		Reports: each(m.GetReports(), func(r *pb.ReportSpec) sdk.ReportSpec {
			return sdk.ReportSpec{Name: r.GetName(), Formats: r.GetFormats(), Needs: sdk.Needs{
				Quote: r.GetQuote(), Global: r.GetGlobal(), Sentiment: r.GetSentiment(),
				DailyCandles: int(r.GetDailyCandles()), CrossCheck: r.GetCrossCheck(),
			}}
		}),
	}
}

// The wire's statuses and kinds are the contract's, one higher: zero is "unspecified" there.

func statusToWire(s sdk.Status) pb.Status { return pb.Status(s) + 1 }

func statusFromWire(s pb.Status) sdk.Status {
	if s < pb.Status_STATUS_OK || s > pb.Status_STATUS_FAILED {
		return sdk.StatusFailed
	}
	return sdk.Status(s - 1)
}

func healthToWire(h sdk.Health) *pb.HealthResponse {
	return &pb.HealthResponse{
		Status: statusToWire(h.Status), Reason: h.Reason,
		Parts: each(h.Parts, func(p sdk.Part) *pb.Part {
			return &pb.Part{Name: p.Name, Status: statusToWire(p.Status), Reason: p.Reason, Details: detailsToWire(p.Details)}
		}),
	}
}

// detailsToWire leaves out a value that the wire cannot hold, so that one of them does not hide an island's health.
func detailsToWire(details map[string]any) *structpb.Struct {
	if len(details) == 0 {
		return nil
	}
	fields := make(map[string]*structpb.Value, len(details))
	for name, value := range details {
		if v, err := structpb.NewValue(value); err == nil {
			fields[name] = v
		}
	}
	return &structpb.Struct{Fields: fields}
}

func healthFromWire(h *pb.HealthResponse) sdk.Health {
	return sdk.Health{
		Status: statusFromWire(h.GetStatus()), Reason: h.GetReason(),
		Parts: each(h.GetParts(), func(p *pb.Part) sdk.Part {
			part := sdk.Part{Name: p.GetName(), Status: statusFromWire(p.GetStatus()), Reason: p.GetReason()}
			if p.GetDetails() != nil {
				part.Details = p.GetDetails().AsMap()
			}
			return part
		}),
	}
}

func metricToWire(m sdk.Metric) *pb.Metric {
	return &pb.Metric{
		Name: m.Name, Type: string(m.Type), Unit: m.Unit, Help: m.Help,
		Samples: each(m.Samples, func(s sdk.Sample) *pb.Sample {
			out := &pb.Sample{Labels: s.Labels, Value: s.Value}
			if h := s.Histogram; h != nil {
				out.Histogram = &pb.Histogram{Count: h.Count, Sum: h.Sum, Buckets: each(h.Buckets, func(b sdk.Bucket) *pb.Bucket {
					return &pb.Bucket{UpperBound: b.UpperBound, Count: b.Count}
				})}
			}
			return out
		}),
	}
}

func metricFromWire(m *pb.Metric) sdk.Metric {
	return sdk.Metric{
		Name: m.GetName(), Type: sdk.MetricType(m.GetType()), Unit: m.GetUnit(), Help: m.GetHelp(),
		Samples: each(m.GetSamples(), func(s *pb.Sample) sdk.Sample {
			out := sdk.Sample{Labels: s.GetLabels(), Value: s.GetValue()}
			if h := s.GetHistogram(); h != nil {
				out.Histogram = &sdk.Histogram{Count: h.GetCount(), Sum: h.GetSum(), Buckets: each(h.GetBuckets(), func(b *pb.Bucket) sdk.Bucket {
					return sdk.Bucket{UpperBound: b.GetUpperBound(), Count: b.GetCount()}
				})}
			}
			return out
		}),
	}
}

func assetToWire(a sdk.Asset) *pb.Asset {
	return &pb.Asset{Id: a.ID, Symbol: a.Symbol, Name: a.Name, Rank: int32(a.Rank), MarketCap: numberToWire(a.MarketCap)}
}

func assetFromWire(a *pb.Asset) sdk.Asset {
	if a == nil {
		return sdk.Asset{}
	}
	return sdk.Asset{
		ID: a.GetId(), Symbol: a.GetSymbol(), Name: a.GetName(), Rank: int(a.GetRank()), MarketCap: numberFromWire(a.MarketCap),
	}
}

func quoteToWire(q sdk.Quote) *pb.Quote {
	return &pb.Quote{
		Id: q.ID, Symbol: q.Symbol, Name: q.Name, VsCurrency: q.VsCurrency,
		Price: numberToWire(q.Price), Change_1H: numberToWire(q.Change1h), Change_24H: numberToWire(q.Change24h),
		Change_7D: numberToWire(q.Change7d), Change_30D: numberToWire(q.Change30d), Change_1Y: numberToWire(q.Change1y),
		High_24H: numberToWire(q.High24h), Low_24H: numberToWire(q.Low24h), Volume_24H: numberToWire(q.Volume24h),
		MarketCap: numberToWire(q.MarketCap), Rank: int32(q.Rank),
		CirculatingSupply: numberToWire(q.Supply.Circulating), TotalSupply: numberToWire(q.Supply.Total),
		MaxSupply: numberToWire(q.Supply.Max), FullyDilutedValuation: numberToWire(q.Supply.FullyDilutedValuation),
		Ath: markToWire(q.ATH), Atl: markToWire(q.ATL), Source: q.Source, AsOf: timeToWire(q.AsOf), Note: q.Note,
	}
}

func quoteFromWire(q *pb.Quote) sdk.Quote {
	if q == nil {
		return sdk.Quote{}
	}
	return sdk.Quote{
		ID: q.GetId(), Symbol: q.GetSymbol(), Name: q.GetName(), VsCurrency: q.GetVsCurrency(),
		Price: numberFromWire(q.Price), Change1h: numberFromWire(q.Change_1H), Change24h: numberFromWire(q.Change_24H),
		Change7d: numberFromWire(q.Change_7D), Change30d: numberFromWire(q.Change_30D), Change1y: numberFromWire(q.Change_1Y),
		High24h: numberFromWire(q.High_24H), Low24h: numberFromWire(q.Low_24H), Volume24h: numberFromWire(q.Volume_24H),
		MarketCap: numberFromWire(q.MarketCap), Rank: int(q.GetRank()),
		Supply: sdk.Supply{
			Circulating: numberFromWire(q.CirculatingSupply), Total: numberFromWire(q.TotalSupply),
			Max: numberFromWire(q.MaxSupply), FullyDilutedValuation: numberFromWire(q.FullyDilutedValuation),
		},
		ATH: markFromWire(q.GetAth()), ATL: markFromWire(q.GetAtl()),
		Source: q.GetSource(), AsOf: timeFromWire(q.GetAsOf()), Note: q.GetNote(),
	}
}

func markToWire(m sdk.Mark) *pb.Mark {
	if m == (sdk.Mark{}) {
		return nil
	}
	return &pb.Mark{Price: numberToWire(m.Price), Date: timeToWire(m.Date), Change: numberToWire(m.Change)}
}

func markFromWire(m *pb.Mark) sdk.Mark {
	if m == nil {
		return sdk.Mark{}
	}
	return sdk.Mark{Price: numberFromWire(m.Price), Date: timeFromWire(m.GetDate()), Change: numberFromWire(m.Change)}
}

func candlesToWire(c sdk.Candles) *pb.CandleSeries {
	return &pb.CandleSeries{
		Id: c.ID, Symbol: c.Symbol, Interval: string(c.Interval), VsCurrency: c.VsCurrency, Source: c.Source,
		AsOf: timeToWire(c.AsOf), Note: c.Note,
		Candles: each(c.Items, func(c sdk.Candle) *pb.Candle {
			return &pb.Candle{
				OpenTime: timeToWire(c.OpenTime), Open: numberToWire(c.Open), High: numberToWire(c.High),
				Low: numberToWire(c.Low), Close: numberToWire(c.Close), Volume: numberToWire(c.Volume), Closed: c.Closed,
			}
		}),
	}
}

func candlesFromWire(c *pb.CandleSeries) sdk.Candles {
	if c == nil {
		return sdk.Candles{}
	}
	return sdk.Candles{
		ID: c.GetId(), Symbol: c.GetSymbol(), Interval: sdk.Interval(c.GetInterval()), VsCurrency: c.GetVsCurrency(),
		Source: c.GetSource(), AsOf: timeFromWire(c.GetAsOf()), Note: c.GetNote(),
		Items: each(c.GetCandles(), func(c *pb.Candle) sdk.Candle {
			return sdk.Candle{
				OpenTime: timeFromWire(c.GetOpenTime()), Open: numberFromWire(c.Open), High: numberFromWire(c.High),
				Low: numberFromWire(c.Low), Close: numberFromWire(c.Close), Volume: numberFromWire(c.Volume), Closed: c.GetClosed(),
			}
		}),
	}
}

func globalToWire(g sdk.Global) *pb.Global {
	out := &pb.Global{
		VsCurrency: g.VsCurrency, MarketCap: numberToWire(g.MarketCap), Volume_24H: numberToWire(g.Volume24h),
		MarketCapChange_24H: numberToWire(g.MarketCapChange24h), ActiveAssets: int32(g.ActiveAssets),
		Markets: int32(g.Markets), Source: g.Source, AsOf: timeToWire(g.AsOf),
	}
	for symbol, share := range g.Dominance {
		if f, ok := share.Float64(); ok {
			if out.Dominance == nil {
				out.Dominance = make(map[string]float64, len(g.Dominance))
			}
			out.Dominance[symbol] = f
		}
	}
	return out
}

func globalFromWire(g *pb.Global) sdk.Global {
	if g == nil {
		return sdk.Global{}
	}
	out := sdk.Global{
		VsCurrency: g.GetVsCurrency(), MarketCap: numberFromWire(g.MarketCap), Volume24h: numberFromWire(g.Volume_24H),
		MarketCapChange24h: numberFromWire(g.MarketCapChange_24H), ActiveAssets: int(g.GetActiveAssets()),
		Markets: int(g.GetMarkets()), Source: g.GetSource(), AsOf: timeFromWire(g.GetAsOf()),
	}
	if len(g.GetDominance()) > 0 {
		out.Dominance = make(map[string]sdk.Number, len(g.GetDominance()))
		for symbol, share := range g.GetDominance() {
			out.Dominance[symbol] = sdk.Known(share)
		}
	}
	return out
}

func sentimentToWire(s sdk.Sentiment) *pb.Sentiment {
	return &pb.Sentiment{Value: numberToWire(s.Value), Label: s.Label, Source: s.Source, AsOf: timeToWire(s.AsOf)}
}

func sentimentFromWire(s *pb.Sentiment) sdk.Sentiment {
	if s == nil {
		return sdk.Sentiment{}
	}
	return sdk.Sentiment{
		Value: numberFromWire(s.Value), Label: s.GetLabel(), Source: s.GetSource(), AsOf: timeFromWire(s.GetAsOf()),
	}
}

func entryToWire(e sdk.Entry) *pb.Entry {
	return &pb.Entry{
		Key: e.Key, Value: e.Value, StoredAt: timeToWire(e.StoredAt), FreshUntil: timeToWire(e.FreshUntil),
		StaleUntil: timeToWire(e.StaleUntil), Version: e.Version,
	}
}

func entryFromWire(e *pb.Entry) sdk.Entry {
	if e == nil {
		return sdk.Entry{}
	}
	return sdk.Entry{
		Key: e.GetKey(), Value: e.GetValue(), StoredAt: timeFromWire(e.GetStoredAt()), FreshUntil: timeFromWire(e.GetFreshUntil()),
		StaleUntil: timeFromWire(e.GetStaleUntil()), Version: e.GetVersion(),
	}
}

func reportRequestToWire(r sdk.ReportRequest) *pb.ReportRequest {
	return &pb.ReportRequest{
		Report: r.Report, Asset: assetToWire(r.Asset), VsCurrency: r.VsCurrency, Now: timeToWire(r.Now),
		ResolvedFrom: r.ResolvedFrom, Ambiguous: each(r.Ambiguous, assetToWire),
		Quote: maybe(r.Quote, quoteToWire), Candles: maybe(r.Candles, candlesToWire),
		Global: maybe(r.Global, globalToWire), Sentiment: maybe(r.Sentiment, sentimentToWire),
		CrossCheck: each(r.CrossCheck, quoteToWire), Stale: r.Stale, Warnings: r.Warnings,
	}
}

func reportRequestFromWire(r *pb.ReportRequest) sdk.ReportRequest {
	return sdk.ReportRequest{
		Report: r.GetReport(), Asset: assetFromWire(r.GetAsset()), VsCurrency: r.GetVsCurrency(), Now: timeFromWire(r.GetNow()),
		ResolvedFrom: r.GetResolvedFrom(), Ambiguous: each(r.GetAmbiguous(), assetFromWire),
		Quote: present(r.GetQuote(), quoteFromWire), Candles: present(r.GetCandles(), candlesFromWire),
		Global: present(r.GetGlobal(), globalFromWire), Sentiment: present(r.GetSentiment(), sentimentFromWire),
		CrossCheck: each(r.GetCrossCheck(), quoteFromWire), Stale: r.GetStale(), Warnings: r.GetWarnings(),
	}
}

func reportToWire(r sdk.Report) *pb.ReportResponse {
	return &pb.ReportResponse{Documents: each(r.Documents, func(d sdk.Document) *pb.Document {
		return &pb.Document{Format: d.Format, ContentType: d.ContentType, Body: d.Body}
	})}
}

func reportFromWire(r *pb.ReportResponse) sdk.Report {
	return sdk.Report{Documents: each(r.GetDocuments(), func(d *pb.Document) sdk.Document {
		return sdk.Document{Format: d.GetFormat(), ContentType: d.GetContentType(), Body: d.GetBody()}
	})}
}
