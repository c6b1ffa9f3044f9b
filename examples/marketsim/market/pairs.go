package market

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Pair is a symbol that the exchange trades, or once traded.
type Pair struct {
	Symbol      string // upper case, such as "BTCUSDT"
	Base, Quote string // upper case
	// Tick and Step are the smallest steps of price and quantity.
	Tick, Step float64
	Listed     time.Time
	// Delisted is zero while the pair is traded.
	Delisted time.Time

	coin   *Coin
	factor float64 // units of Quote for one USDT
	share  float64 // of the coin's volume
}

// exchangeOpened is the day the exchange began.
const exchangeOpened = "2017-08-17"

// Traded says whether the pair was trading at t.
func (p *Pair) Traded(t time.Time) bool {
	return !t.Before(p.Listed) && (p.Delisted.IsZero() || t.Before(p.Delisted))
}

// Coin is what the pair trades.
func (p *Pair) Coin() *Coin { return p.coin }

// Price is the pair's last price, on its tick.
func (p *Pair) Price(t time.Time) float64 { return p.round(p.coin.Price(t) * p.factor) }

// Bar is the pair's candle of [from, to), prices on their tick and volume in the base asset.
func (p *Pair) Bar(from, to time.Time) Bar {
	b := p.coin.Bar(from, to)
	b.Open, b.High = p.round(b.Open*p.factor), p.round(b.High*p.factor)
	b.Low, b.Close = p.round(b.Low*p.factor), p.round(b.Close*p.factor)
	b.Volume *= p.share
	b.Trades = p.Trades(to) - p.Trades(from)
	return b
}

// Trades is how many trades the pair has seen until t; their ids count from 0.
func (p *Pair) Trades(t time.Time) int64 { return int64(float64(p.coin.Trades(t)) * p.share) }

// round keeps the order of its arguments, so a rounded bar is still a bar.
func (p *Pair) round(price float64) float64 { return max(p.Tick, math.Round(price/p.Tick)*p.Tick) }

// notTraded are coins that the exchange never had.
var notTraded = []string{
	dollarID, "staked-ether", "hyperliquid", "leo-token", "dai", "crypto-com-chain", "mantle", "kaspa",
	"unicorn-token", "ada-the-dog", "dot-finance", "litecash", "xrp-classic", "ghost-protocol",
}

// tradedTail is how many of the generated coins the exchange has.
const tradedTail = 80

// listPairs makes a USDT pair for most coins, a few others, and two dead ones.
func listPairs(m *Market) []*Pair {
	var pairs []*Pair
	add := func(c *Coin, quote string, factor, share float64) *Pair {
		base := strings.ToUpper(c.Symbol)
		p := &Pair{
			Symbol: base + quote, Base: base, Quote: quote, Listed: c.Listed, coin: c, factor: factor, share: share,
		}
		if opened := date(exchangeOpened); p.Listed.Before(opened) {
			p.Listed = opened
		}
		nominal := c.nominal * factor
		p.Tick = math.Pow(10, min(-2, max(-8, math.Floor(math.Log10(nominal))-5)))
		p.Step = math.Pow(10, min(0, max(-5, -math.Floor(math.Log10(nominal))-1)))
		pairs = append(pairs, p)
		return p
	}
	tail := 0
	for _, c := range m.coins {
		if slices.Contains(notTraded, c.ID) {
			continue
		}
		if _, named := knownIDs[c.ID]; !named && c.ID != "fledgling" {
			if tail++; tail > tradedTail {
				continue
			}
		}
		p := add(c, "USDT", 1, 1)
		switch c.ID {
		case "monero":
			// A coin that is alive elsewhere and dead here.
			p.Delisted = date("2024-02-20")
		case "bitcoin", "ethereum", "solana", "binancecoin", "ripple":
			add(c, "USDC", 1.0001, 0.2)
			add(c, "EUR", m.Rate("eur", time.Time{}), 0.03)
		}
	}
	bcc := add(m.byID["bitcoin-cash"], "USDT", 1.01, 0.5)
	bcc.Symbol, bcc.Base, bcc.Delisted = "BCCUSDT", "BCC", date("2018-11-16")
	return pairs
}

var knownIDs = func() map[string]struct{} {
	ids := make(map[string]struct{}, len(known))
	for _, k := range known {
		ids[k.id] = struct{}{}
	}
	return ids
}()
