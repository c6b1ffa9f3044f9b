package market

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Coin is one asset. Its exported fields never change.
type Coin struct {
	ID     string // the aggregator's id, such as "avalanche-2"
	Symbol string // lower case, not unique
	Name   string
	// Image is the aggregator's running number for it.
	Image int
	// Listed is 00:00 UTC of the first day that has prices.
	Listed time.Time
	// Supply is in coins. Circulating is always known here; whether a service admits it is a matter of Gaps.
	Circulating, Total float64
	// Max is 0 where there is no maximum.
	Max float64
	// Gaps says which figures the aggregator has never heard of.
	Gaps Gaps

	market      *Market
	key         key
	nominal     float64 // USDT at the anchor day, before noise
	sigma       float64 // daily standard deviation of what is the coin's own
	beta        float64 // share in the market's path
	logBase     float64 // log of nominal; for a pegged coin, log of the ratio to what it follows
	drift       float64 // per year
	dailyVolume float64
	dailyTrades float64
	pegID       string
	peg         *Coin
	memo        memo
}

// Gaps are figures that the aggregator does not know about a coin, and answers as null.
type Gaps struct {
	// Cap is the market cap, the rank and everything derived from it.
	Cap bool
	// Volume is the 24 hour volume.
	Volume bool
	// Price is everything that is a number: a coin that is listed and has never been traded.
	Price bool
}

// dollarID is the coin that the exchange counts in.
const dollarID = "tether"

// settle derives what the table does not say.
func (c *Coin) settle() {
	switch {
	case c.pegID != "":
		return
	case c.beta == 0:
		c.drift = 0
	default:
		c.drift = 0.2 * (c.key.draw(0, 0) - 0.5)
	}
	c.logBase = math.Log(c.nominal)
}

func (c *Coin) nominalCap() float64 { return c.nominal * c.Circulating }

// known are the coins with names that everybody knows; prices and supplies are of the right order, no more.
// A sigma below 0.001 marks a coin that follows the dollar.
var known = []struct {
	id, symbol, name         string
	price, circulating, most float64
	sigma                    float64
	listed                   string
	peg                      string
}{
	{"bitcoin", "btc", "Bitcoin", 88000, 19.97e6, 21e6, 0.006, "2013-04-28", ""},
	{"ethereum", "eth", "Ethereum", 3050, 120.7e6, 0, 0.011, "2015-08-07", ""},
	{dollarID, "usdt", "Tether", 1, 186e9, 0, 0.00001, "2015-02-25", ""},
	{"binancecoin", "bnb", "BNB", 865, 137.7e6, 200e6, 0.011, "2017-09-16", ""},
	{"ripple", "xrp", "XRP", 1.95, 60.6e9, 100e9, 0.017, "2013-08-04", ""},
	{"usd-coin", "usdc", "USDC", 1, 76e9, 0, 0.00001, "2018-10-05", ""},
	{"solana", "sol", "Solana", 127, 563e6, 0, 0.017, "2020-04-11", ""},
	{"tron", "trx", "TRON", 0.285, 94.7e9, 0, 0.011, "2017-11-09", ""},
	{"staked-ether", "steth", "Lido Staked Ether", 0.9994, 8.8e6, 0, 0.011, "2020-12-22", "ethereum"},
	{"dogecoin", "doge", "Dogecoin", 0.125, 168e9, 0, 0.02, "2013-12-15", ""},
	{"cardano", "ada", "Cardano", 0.37, 36e9, 45e9, 0.018, "2017-10-18", ""},
	{"wrapped-bitcoin", "wbtc", "Wrapped Bitcoin", 0.9978, 127e3, 127e3, 0.006, "2019-01-30", "bitcoin"},
	{"bitcoin-cash", "bch", "Bitcoin Cash", 590, 19.98e6, 21e6, 0.018, "2017-08-02", ""},
	{"hyperliquid", "hype", "Hyperliquid", 25, 333e6, 1e9, 0.03, "2024-11-29", ""},
	{"monero", "xmr", "Monero", 430, 18.45e6, 0, 0.018, "2014-05-21", ""},
	{"chainlink", "link", "Chainlink", 12.4, 708e6, 1e9, 0.018, "2017-11-09", ""},
	{"zcash", "zec", "Zcash", 480, 16.5e6, 21e6, 0.03, "2016-10-29", ""},
	{"leo-token", "leo", "LEO Token", 8.8, 922e6, 985e6, 0.01, "2019-05-21", ""},
	{"stellar", "xlm", "Stellar", 0.22, 32.4e9, 50e9, 0.018, "2014-08-05", ""},
	{"litecoin", "ltc", "Litecoin", 79, 76.7e6, 84e6, 0.016, "2013-04-28", ""},
	{"sui", "sui", "Sui", 1.45, 3.74e9, 10e9, 0.024, "2023-05-03", ""},
	{"avalanche-2", "avax", "Avalanche", 12.6, 429e6, 715e6, 0.02, "2020-09-22", ""},
	{"dai", "dai", "Dai", 1, 4.4e9, 0, 0.00002, "2019-11-19", ""},
	{"hedera-hashgraph", "hbar", "Hedera", 0.114, 42.7e9, 50e9, 0.021, "2019-09-17", ""},
	{"shiba-inu", "shib", "Shiba Inu", 0.0000074, 589.2e12, 0, 0.022, "2020-08-01", ""},
	{"the-open-network", "ton", "Toncoin", 1.65, 2.45e9, 0, 0.02, "2021-08-26", ""},
	{"uniswap", "uni", "Uniswap", 5.9, 630e6, 1e9, 0.021, "2020-09-17", ""},
	{"polkadot", "dot", "Polkadot", 1.85, 1.65e9, 2.1e9, 0.019, "2020-08-19", ""},
	{"crypto-com-chain", "cro", "Cronos", 0.093, 37e9, 100e9, 0.02, "2018-12-14", ""},
	{"mantle", "mnt", "Mantle", 1.02, 3.25e9, 6.2e9, 0.02, "2023-07-17", ""},
	{"bittensor", "tao", "Bittensor", 225, 10.2e6, 21e6, 0.028, "2023-03-06", ""},
	{"aave", "aave", "Aave", 152, 15.2e6, 16e6, 0.021, "2020-10-03", ""},
	{"near", "near", "NEAR Protocol", 1.55, 1.28e9, 0, 0.022, "2020-10-14", ""},
	{"pepe", "pepe", "Pepe", 0.0000041, 420.69e12, 420.69e12, 0.03, "2023-04-18", ""},
	{"ethereum-classic", "etc", "Ethereum Classic", 12.1, 155e6, 210.7e6, 0.017, "2016-07-24", ""},
	{"internet-computer", "icp", "Internet Computer", 3.05, 546e6, 0, 0.023, "2021-05-10", ""},
	{"aptos", "apt", "Aptos", 1.72, 750e6, 0, 0.023, "2022-10-19", ""},
	{"ondo-finance", "ondo", "Ondo", 0.41, 3.16e9, 10e9, 0.026, "2024-01-18", ""},
	{"polygon-ecosystem-token", "pol", "POL (ex-MATIC)", 0.107, 10.5e9, 0, 0.021, "2023-10-25", ""},
	{"kaspa", "kas", "Kaspa", 0.046, 27e9, 28.7e9, 0.026, "2022-06-02", ""},
	{"cosmos", "atom", "Cosmos Hub", 2.05, 480e6, 0, 0.019, "2019-03-14", ""},
	{"arbitrum", "arb", "Arbitrum", 0.19, 5.7e9, 10e9, 0.023, "2023-03-23", ""},
	{"algorand", "algo", "Algorand", 0.115, 8.8e9, 10e9, 0.02, "2019-06-22", ""},
	{"filecoin", "fil", "Filecoin", 1.32, 720e6, 1.96e9, 0.022, "2020-10-15", ""},
	{"vechain", "vet", "VeChain", 0.0106, 86e9, 86.7e9, 0.021, "2018-08-03", ""},
	{"eos", "eos", "EOS", 0.19, 1.58e9, 2.1e9, 0.02, "2017-07-02", ""},
	{"yearn-finance", "yfi", "yearn.finance", 3350, 35.6e3, 36.7e3, 0.021, "2020-07-18", ""},
	// What follows shares its symbol with something far larger above.
	{"unicorn-token", "uni", "UNICORN Token", 0.0021, 180e6, 1e9, 0.04, "2021-03-02", ""},
	{"ada-the-dog", "ada", "ADA the Dog", 0.00043, 900e6, 1e9, 0.05, "2022-05-11", ""},
	{"dot-finance", "dot", "Dot Finance", 0.031, 41e6, 200e6, 0.04, "2021-06-01", ""},
	{"litecash", "ltc", "LiteCash", 0.012, 25e6, 84e6, 0.045, "2020-02-14", ""},
	{"xrp-classic", "xrp", "XRP Classic", 0.0037, 350e6, 589e6, 0.05, "2022-01-20", ""},
}

// The generated coins: every prefix with every suffix, in the order of the suffixes.
var (
	prefixes = strings.Fields(`Nova Orbit Quark Zephyr Lumen Cobalt Terra Hydra Pulse Vertex Ember Glacier Maple Onyx
		Saffron Tundra Velvet Willow Xenon Yonder Amber Basalt Cedar Dune Flint`)
	suffixes = []struct{ id, letter, name string }{
		{"protocol", "p", "Protocol"},
		{"network", "n", "Network"},
		{"finance", "f", "Finance"},
		{"coin", "c", "Coin"},
		{"games", "g", "Games"},
		{"labs", "l", "Labs"},
		{"swap", "s", "Swap"},
		{"ai", "i", "AI"},
		{"dao", "d", "DAO"},
		{"bridge", "b", "Bridge"},
	}
)

// listCoins builds the table of all coins, which is the same for every seed but for the day the fledgling was listed.
func listCoins(born time.Time) []*Coin {
	var coins []*Coin
	for _, k := range known {
		c := &Coin{
			ID: k.id, Symbol: k.symbol, Name: k.name, Listed: date(k.listed),
			Circulating: k.circulating, Total: max(k.circulating, 0.98*k.most), Max: k.most,
			nominal: k.price, sigma: k.sigma, beta: 1, pegID: k.peg,
		}
		if k.peg != "" {
			c.logBase, c.beta = math.Log(k.price), 0
			for _, other := range coins {
				if other.ID == k.peg {
					c.nominal = k.price * other.nominal
				}
			}
		} else if k.sigma < 0.001 {
			c.beta = 0
		}
		coins = append(coins, c)
	}
	coins = append(coins, generated()...)
	coins = append(coins,
		&Coin{
			ID: "fledgling", Symbol: "fledge", Name: "Fledgling", Listed: midnight(born).AddDate(0, 0, -60),
			Circulating: 300e6, Total: 1e9, Max: 1e9, nominal: 0.8, sigma: 0.04, beta: 1,
		},
		&Coin{
			ID: "ghost-protocol", Symbol: "ghost", Name: "Ghost Protocol", Listed: date("2024-05-01"),
			Circulating: 1, Total: 1, nominal: 0.01, sigma: 0.03, beta: 1, Gaps: Gaps{Cap: true, Volume: true, Price: true},
		})
	for i, c := range coins {
		c.Image = 1 + i*7
		// The order of what Binance trades of a coin in a day.
		turnover := 0.004 * c.nominalCap() / c.nominal
		if c.beta == 0 && c.pegID == "" {
			turnover *= 15
		}
		c.dailyVolume = turnover
		c.dailyTrades = math.Round(1000 + math.Sqrt(turnover*c.nominal)*60)
	}
	slices.SortStableFunc(coins, func(a, b *Coin) int { return cmp.Compare(b.nominalCap(), a.nominalCap()) })
	return coins
}

// generated makes the long tail. Its ids, symbols and sizes are the same for every seed, so that a test can name them.
func generated() []*Coin {
	root := newKey(0, "generated")
	var coins []*Coin
	for _, suffix := range suffixes {
		for _, prefix := range prefixes {
			i := int64(len(coins))
			price := math.Pow(10, -2.5+4.5*root.draw(0, i))
			capital := 1.1e9 * math.Exp(-float64(i)/45)
			c := &Coin{
				ID:          strings.ToLower(prefix) + "-" + suffix.id,
				Symbol:      strings.ToLower(prefix[:3]) + suffix.letter,
				Name:        prefix + " " + suffix.name,
				Listed:      date("2021-01-01").AddDate(0, 0, int(1400*root.draw(1, i))),
				Circulating: math.Round(capital / price),
				nominal:     price,
				sigma:       0.02 + 0.03*root.draw(2, i),
				beta:        1,
				Gaps:        Gaps{Cap: i%17 == 16, Volume: i%23 == 22},
			}
			c.Total = math.Round(c.Circulating * (1 + root.draw(3, i)))
			if i%3 != 0 {
				c.Max = math.Round(c.Total * 1.1)
			}
			coins = append(coins, c)
		}
	}
	return coins
}

// date reads a day of the tables above.
func date(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(fmt.Sprintf("market: the coin table holds a bad date: %v", err))
	}
	return t
}

func midnight(t time.Time) time.Time {
	return time.UnixMilli(millis(t) / dayMS * dayMS).UTC()
}
