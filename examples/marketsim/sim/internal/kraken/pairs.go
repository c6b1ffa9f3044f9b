package kraken

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// listed are the coins that the exchange has, with its own code where that is not the symbol, and the old name of the asset.
var listed = []struct{ id, code, asset string }{
	{"bitcoin", "XBT", "XXBT"},
	{"ethereum", "ETH", "XETH"},
	{"tether", "USDT", "USDT"},
	{"ripple", "XRP", "XXRP"},
	{"usd-coin", "USDC", "USDC"},
	{"solana", "SOL", "SOL"},
	{"binancecoin", "BNB", "BNB"},
	{"tron", "TRX", "TRX"},
	{"dogecoin", "XDG", "XXDG"},
	{"cardano", "ADA", "ADA"},
	{"bitcoin-cash", "BCH", "BCH"},
	{"monero", "XMR", "XXMR"},
	{"chainlink", "LINK", "LINK"},
	{"zcash", "ZEC", "XZEC"},
	{"stellar", "XLM", "XXLM"},
	{"litecoin", "LTC", "XLTC"},
	{"sui", "SUI", "SUI"},
	{"avalanche-2", "AVAX", "AVAX"},
	{"dai", "DAI", "DAI"},
	{"hedera-hashgraph", "HBAR", "HBAR"},
	{"shiba-inu", "SHIB", "SHIB"},
	{"the-open-network", "TON", "TON"},
	{"uniswap", "UNI", "UNI"},
	{"polkadot", "DOT", "DOT"},
	{"bittensor", "TAO", "TAO"},
	{"aave", "AAVE", "AAVE"},
	{"near", "NEAR", "NEAR"},
	{"pepe", "PEPE", "PEPE"},
	{"ethereum-classic", "ETC", "XETC"},
	{"internet-computer", "ICP", "ICP"},
	{"aptos", "APT", "APT"},
	{"ondo-finance", "ONDO", "ONDO"},
	{"polygon-ecosystem-token", "POL", "POL"},
	{"kaspa", "KAS", "KAS"},
	{"cosmos", "ATOM", "ATOM"},
	{"arbitrum", "ARB", "ARB"},
	{"algorand", "ALGO", "ALGO"},
	{"filecoin", "FIL", "FIL"},
	{"yearn-finance", "YFI", "YFI"},
}

// inEuro is how many of them, from the first on, are traded in euros and USDT as well.
const inEuro = 7

// opened is the day the exchange began.
var opened = time.Date(2013, 9, 10, 0, 0, 0, 0, time.UTC)

// pair is what the exchange trades.
type pair struct {
	key, name, slash, symbol string // XXBTZUSD, XBTUSD, XBT/USD and BTC/USD
	base, quote              string // XXBT and ZUSD
	coin                     *market.Coin
	listed                   time.Time
	factor                   float64 // units of the quote for one USDT
	share                    float64 // of the coin's volume
	decimals                 int     // of a price
}

func listPairs(m *market.Market) []*pair {
	modern := strings.NewReplacer("XBT", "BTC", "XDG", "DOGE")
	var pairs []*pair
	for i, l := range listed {
		coin, ok := m.Coin(l.id)
		if !ok {
			continue
		}
		add := func(code, asset string, rate, share float64) {
			// A dollar is dearer than a USDT by a part of the pair's own.
			spread := 0.0003 * m.Noise("kraken "+l.code+code, 0)
			p := &pair{
				name: l.code + code, slash: l.code + "/" + code, symbol: modern.Replace(l.code) + "/" + code,
				base: l.asset, quote: asset, coin: coin, listed: coin.Listed, factor: rate / (1 + spread), share: share,
			}
			if p.listed.Before(opened) {
				p.listed = opened
			}
			// Only assets of the first years have an old name, and only pairs of two of them show it.
			p.key = p.name
			if len(l.asset) == 4 && l.asset[0] == 'X' && asset[0] == 'Z' && l.code != "XDG" {
				p.key = l.asset + asset
			}
			if l.code == "USDT" && asset[0] == 'Z' {
				p.key = l.code + asset
			}
			price := coin.Price(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) * p.factor
			p.decimals = int(min(10, max(1, 5-math.Floor(math.Log10(price)))))
			pairs = append(pairs, p)
		}
		add("USD", "ZUSD", 1, 0.08)
		if i < inEuro {
			add("EUR", "ZEUR", m.Rate("eur", time.Time{}), 0.05)
			if l.id != "tether" {
				add("USDT", "USDT", 1, 0.02)
			}
		}
	}
	return pairs
}

// round brings a price to the pair's decimals.
func (p *pair) round(price float64) float64 {
	unit := math.Pow(10, float64(p.decimals))
	return max(1, math.Round(price*unit)) / unit
}

// trades is how many trades the pair has seen until an instant.
func (p *pair) trades(at time.Time) int64 { return int64(float64(p.coin.Trades(at)) * p.share) }

// bar is the candle of a span, no earlier than the listing. Its volume has eight decimals.
func (p *pair) bar(from, to time.Time) market.Bar {
	if from.Before(p.listed) {
		from = p.listed
	}
	b := p.coin.Bar(from, to)
	b.Open, b.High, b.Low, b.Close = p.round(b.Open*p.factor), p.round(b.High*p.factor), p.round(b.Low*p.factor), p.round(b.Close*p.factor)
	b.Volume = math.Round(b.Volume*p.share*1e8) / 1e8
	b.Trades = p.trades(to) - p.trades(from)
	return b
}

// figure writes a price, and lots a quantity, as the service does.
func (p *pair) figure(x float64) string { return strconv.FormatFloat(x, 'f', p.decimals, 64) }

func lots(x float64) string { return strconv.FormatFloat(x, 'f', 8, 64) }

func (p *pair) instrument() upstream.Object {
	return upstream.Object{
		{Name: "altname", Value: p.name},
		{Name: "wsname", Value: p.slash},
		{Name: "aclass_base", Value: "currency"},
		{Name: "base", Value: p.base},
		{Name: "aclass_quote", Value: "currency"},
		{Name: "quote", Value: p.quote},
		{Name: "lot", Value: "unit"},
		{Name: "cost_decimals", Value: 5},
		{Name: "pair_decimals", Value: p.decimals},
		{Name: "lot_decimals", Value: 8},
		{Name: "lot_multiplier", Value: 1},
		{Name: "leverage_buy", Value: []int{}},
		{Name: "leverage_sell", Value: []int{}},
		{Name: "fees", Value: [][2]float64{{0, 0.4}, {10000, 0.35}}},
		{Name: "fees_maker", Value: [][2]float64{{0, 0.25}, {10000, 0.2}}},
		{Name: "fee_volume_currency", Value: "ZUSD"},
		{Name: "margin_call", Value: 80},
		{Name: "margin_stop", Value: 40},
		{Name: "ordermin", Value: "0.0001"},
		{Name: "costmin", Value: "0.5"},
		{Name: "tick_size", Value: p.figure(math.Pow(10, -float64(p.decimals)))},
		{Name: "status", Value: "online"},
	}
}

// day is the 24 hours before an instant, and their average price.
func (p *pair) day(at time.Time) (bar market.Bar, vwap float64) {
	bar = p.bar(at.Add(-24*time.Hour), at)
	return bar, p.round(bar.Typical())
}

// rolling is what the pair did today and in the last 24 hours.
func (p *pair) rolling(now time.Time) upstream.Object {
	midnight := now.UTC().Truncate(24 * time.Hour)
	today := p.bar(midnight, now)
	day, vwap := p.day(now)
	lot := lots(max(1e-8, day.Volume/float64(max(1, day.Trades))))
	tick := math.Pow(10, -float64(p.decimals))
	both := func(a, b float64) []string { return []string{p.figure(a), p.figure(b)} }
	return upstream.Object{
		{Name: "a", Value: []string{p.figure(day.Close + tick), "1", "1.000"}},
		{Name: "b", Value: []string{p.figure(day.Close), "1", "1.000"}},
		{Name: "c", Value: []string{p.figure(day.Close), lot}},
		{Name: "v", Value: []string{lots(today.Volume), lots(day.Volume)}},
		{Name: "p", Value: both(p.round(today.Typical()), vwap)},
		{Name: "t", Value: []int64{today.Trades, day.Trades}},
		{Name: "l", Value: both(today.Low, day.Low)},
		{Name: "h", Value: both(today.High, day.High)},
		{Name: "o", Value: p.figure(today.Open)},
	}
}
