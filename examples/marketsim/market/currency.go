package market

import (
	"slices"
	"time"
)

// currencies are what a dollar is worth in each: fixed, since nothing here is about foreign exchange. The figures are of
// the right order.
var currencies = map[string]float64{
	"usd": 1, "aed": 3.6725, "ars": 1450, "aud": 1.52, "bdt": 122, "bhd": 0.377, "bmd": 1, "brl": 5.4, "cad": 1.38,
	"chf": 0.8, "clp": 930, "cny": 7.1, "czk": 20.9, "dkk": 6.4, "eur": 0.86, "gbp": 0.75, "gel": 2.7, "hkd": 7.78,
	"huf": 332, "idr": 16650, "ils": 3.25, "inr": 89, "jpy": 155, "krw": 1460, "kwd": 0.307, "lkr": 305, "mmk": 2100,
	"mxn": 18.4, "myr": 4.14, "ngn": 1450, "nok": 10.1, "nzd": 1.76, "php": 58.7, "pkr": 281, "pln": 3.65, "rub": 80,
	"sar": 3.75, "sek": 9.45, "sgd": 1.3, "thb": 32.3, "try": 42.4, "twd": 31.2, "uah": 42.2, "vef": 0.1, "vnd": 26350,
	"zar": 17.3, "xdr": 0.735, "xag": 0.0199, "xau": 0.000244,
}

// quoteCoins are currencies that are coins themselves.
var quoteCoins = map[string]string{
	"btc": "bitcoin", "eth": "ethereum", "ltc": "litecoin", "bch": "bitcoin-cash", "bnb": "binancecoin", "eos": "eos",
	"xrp": "ripple", "xlm": "stellar", "link": "chainlink", "dot": "polkadot", "yfi": "yearn-finance", "sol": "solana",
}

// Currencies lists every code that [Market.Rate] knows, sorted.
func (m *Market) Currencies() []string {
	codes := []string{"bits", "sats"}
	for code := range currencies {
		codes = append(codes, code)
	}
	for code := range quoteCoins {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return codes
}

// Rate is how many units of a currency (lower case) a dollar buys at t, and 0 for one that is unknown.
func (m *Market) Rate(currency string, t time.Time) float64 {
	if rate, ok := currencies[currency]; ok {
		return rate
	}
	switch currency {
	case "bits":
		return 1e6 / m.byID["bitcoin"].USD(t)
	case "sats":
		return 1e8 / m.byID["bitcoin"].USD(t)
	}
	if id, ok := quoteCoins[currency]; ok {
		return 1 / m.byID[id].USD(t)
	}
	return 0
}
