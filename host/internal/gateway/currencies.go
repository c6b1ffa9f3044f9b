package gateway

// currencies lists the currencies that prices may be asked in: those CoinGecko knows.
var currencies = []string{
	"usd", "aed", "ars", "aud", "bam", "bch", "bdt", "bhd", "bits", "bmd", "bnb", "brl", "btc", "cad", "chf", "clp", "cny",
	"cop", "crc", "czk", "dkk", "dop", "dot", "eos", "eth", "eur", "gbp", "gel", "gtq", "hkd", "hnl", "huf", "idr", "ils",
	"inr", "jpy", "kes", "krw", "kwd", "lbp", "link", "lkr", "ltc", "mmk", "mxn", "myr", "ngn", "nok", "nzd", "pen", "php",
	"pkr", "pln", "ron", "rub", "sar", "sats", "sek", "sgd", "sol", "svc", "thb", "try", "twd", "uah", "vef", "vnd", "xag",
	"xau", "xdr", "xlm", "xrp", "yfi", "zar", "zmw",
}
