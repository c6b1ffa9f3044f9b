package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

type settings struct {
	Secret sdk.Secret `setting:"secret" default:"" doc:"What must not get out."`
}

// behaviour is what calls do from now on; nothing: they answer well.
var behaviour atomic.Pointer[string]

// misbehave does in a call what the test has ordered.
func misbehave() error {
	order := behaviour.Load()
	if order == nil {
		return nil
	}
	switch *order {
	case "panics":
		panic("a panic in every call")
	case "hangs": // Also when it is asked how it is.
		select {}
	case "fails":
		return sdk.Errorf(sdk.Internal, "it fails")
	case "leaks":
		err := leak()
		fmt.Fprintln(os.Stderr, err)
		return err
	case "exits":
		os.Exit(6)
	}
	return nil
}

func behaves(how string) bool {
	order := behaviour.Load()
	return order != nil && *order == how
}

// secret is what this island was told to keep.
var secret atomic.Pointer[string]

// logger is the one that the host has given.
var logger atomic.Pointer[slog.Logger]

// leak is the error of a call to an upstream that cannot be reached, which names all of its URL, as those of net/http do.
func leak() error {
	key := secret.Load()
	if key == nil {
		return nil
	}
	_, err := http.Get("http://127.0.0.1:1/v1/*?key=" + url.QueryEscape(*key)) //nolint:noctx,bodyclose // Nobody listens there.
	return sdk.Errorf(sdk.Unavailable, "with the key %s: %w", *key, err)
}

// plain is an island without a role.
type plain struct{ set settings }

func (p *plain) Initialize(_ context.Context, cfg sdk.Config) error {
	if err := cfg.Decode(&p.set); err != nil {
		return err
	}
	key := string(p.set.Secret)
	secret.Store(&key)
	logger.Store(cfg.Logger)
	if behaves("leaks at once") {
		return leak()
	}
	return nil
}

func (p *plain) Health(context.Context) sdk.Health {
	err := misbehave()
	switch {
	case err != nil && behaves("leaks"):
		text := err.Error()
		return sdk.Degraded(text, sdk.Part{
			Name: text, Status: sdk.StatusDegraded, Reason: text, Details: map[string]any{"error": text, text: "error"},
		})
	case err != nil:
		return sdk.Failed(err.Error())
	default:
		return sdk.Healthy()
	}
}

func (p *plain) Metrics(context.Context) (sdk.Metrics, error) {
	err := misbehave()
	if err != nil && behaves("leaks") {
		return sdk.Metrics{{
			Name: "leaks_total", Type: sdk.CounterType, Help: err.Error(),
			Samples: []sdk.Sample{{Labels: map[string]string{"error": err.Error()}, Value: 1}},
		}}, nil
	}
	return sdk.Metrics{}, err
}

func (p *plain) Shutdown(context.Context) error { return nil }

// island is a source of everything.
type island struct{ plain }

// price is what this island says of every asset while it behaves.
const price = 4242.25

func (i *island) Quotes(_ context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	if behaves("never returns") {
		select {}
	}
	if err := misbehave(); err != nil {
		return nil, err
	}
	return quotes(req.Assets, req.VsCurrency), nil
}

// quotes answers well, or with what nobody should believe.
func quotes(assets []sdk.Asset, currency string) (list []sdk.Quote) {
	now := time.Now().UTC()
	for _, a := range assets {
		q := sdk.Quote{ID: a.ID, Symbol: a.Symbol, VsCurrency: currency, Price: sdk.Known(price), AsOf: now}
		switch {
		case behaves("negative"):
			q.Price = sdk.Known(-1)
		case behaves("nought"):
			q.Price = sdk.Known(0)
		case behaves("not a number"):
			q.Price = sdk.Known(math.NaN())
		case behaves("huge"):
			q.Price = sdk.Known(math.MaxFloat64)
		case behaves("future"):
			q.AsOf = now.Add(24 * time.Hour)
		case behaves("ancient"):
			q.AsOf = time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
		case behaves("unasked"):
			q.ID, q.Symbol = "nobody-asked", "nobodyasked"
		case behaves("another currency"):
			q.VsCurrency = "eur"
		case behaves("loud"):
			q.Name, q.Note = strings.Repeat("<script>alert(1)</script>\r\nX-Evil: 1\x00", 1000), strings.Repeat("note ", 100_000)
		}
		list = append(list, q)
		if behaves("twice") {
			list = append(list, q, q)
		}
	}
	return list
}

func (i *island) Candles(_ context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	if err := misbehave(); err != nil {
		return sdk.Candles{}, err
	}
	return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "no candles of %s", req.Asset.Symbol)
}

func (i *island) Global(context.Context, sdk.GlobalRequest) (sdk.Global, error) {
	if err := misbehave(); err != nil {
		return sdk.Global{}, err
	}
	return sdk.Global{}, sdk.Errorf(sdk.Unavailable, "it does not know")
}

func (i *island) Sentiment(context.Context, sdk.SentimentRequest) (sdk.Sentiment, error) {
	if err := misbehave(); err != nil {
		return sdk.Sentiment{}, err
	}
	s := sdk.Sentiment{Value: sdk.Known(50), Label: "Troubled", AsOf: time.Now().UTC()}
	switch {
	case behaves("negative"):
		s.Value = sdk.Known(-1)
	case behaves("huge"):
		s.Value = sdk.Known(math.MaxFloat64)
	case behaves("future"):
		s.AsOf = s.AsOf.Add(24 * time.Hour)
	case behaves("loud"):
		s.Label = strings.Repeat("<script>alert(1)</script>", 100_000)
	}
	return s, nil
}

func (i *island) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	if err := misbehave(); err != nil {
		return err
	}
	for seq := uint64(1); ; seq++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if err := emit(sdk.QuoteBatch{Seq: seq, Quotes: quotes(req.Assets, req.VsCurrency)}); err != nil {
			return err
		}
	}
}
