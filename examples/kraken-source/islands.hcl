# Reports, candles and live prices from Kraken, and from CoinGecko where Kraken does not know an asset or does not answer.
# "islands validate" checks it; a relative binary lies beside the islands executable.

host {
  listen   = env("ISLANDS_LISTEN", "127.0.0.1:3000")
  data_dir = env("ISLANDS_DATA_DIR", "data")

  log {
    level  = env("LOG_LEVEL", "info")
    format = env("LOG_FORMAT", "auto")
  }
}

strategy "real_time"      { ttl = "30s" }
strategy "short_term"     { ttl = "5m" }
strategy "medium_term"    { ttl = "1h" }
strategy "long_term"      { ttl = "3h" }
strategy "very_long_term" { ttl = "24h" }

island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"

  config {
    max_memory = "64MiB"
  }
}

island "sqlite-store" {
  layer  = "infrastructure"
  binary = "plugins/sqlite-store"
  writes = ["${host.data_dir}/store"]

  config {
    path = "${host.data_dir}/store/islands.db"
  }
}

island "kraken-source" {
  layer  = "external_services"
  binary = "plugins/kraken-source"

  config {
    url        = env("KRAKEN_URL", "https://api.kraken.com")
    stream_url = env("KRAKEN_STREAM_URL", "wss://ws.kraken.com/v2")
  }
}

island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"

  config {
    url     = env("COINGECKO_URL", "https://api.coingecko.com/api/v3")
    api_key = env("COINGECKO_API_KEY", "")
  }
}

island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
}

request {
  cache = "cache"
  store = "sqlite-store"

  quotes {
    sources  = ["kraken-source", "coingecko-source"]
    strategy = "real_time"
  }

  candles {
    sources  = ["kraken-source", "coingecko-source"]
    strategy = "long_term"
  }

  global {
    sources  = ["coingecko-source"]
    strategy = "short_term"
  }

  # CoinGecko knows ids, names and ranks, and Kraken what is left without it.
  catalogue {
    sources  = ["coingecko-source", "kraken-source"]
    strategy = "very_long_term"
  }

  report "crypto-report" {
    island   = "report-generator"
    strategy = "medium_term"
  }

  report "technical-analysis" {
    island   = "report-generator"
    strategy = "long_term"
    key      = "rsi_analysis"
  }
}

broadcast {
  symbols = ["btc", "eth", "sol", "xrp", "doge"]
  sources = ["kraken-source", "coingecko-source"]
  poll    = "30s"
}
