# Service Islands: what runs, and how it is composed. Read it top to bottom; "islands validate" checks it.
#
# env("NAME", "default") is a variable of the environment, or the default where it is unset. Each variable that is read
# here is optional: as it stands, this file needs no server, no key and no variable.

host {
  listen      = env("ISLANDS_LISTEN", "127.0.0.1:3000")
  data_dir    = env("ISLANDS_DATA_DIR", "data")       # relative to the working directory
  environment = env("ISLANDS_ENV", "development")     # production: JSON logs, and each island needs its sha256
  admin_token = env("ISLANDS_ADMIN_TOKEN", "")        # empty: no admin API over HTTP

  log {
    level  = env("LOG_LEVEL", "info")     # trace, debug, info, warn or error
    format = env("LOG_FORMAT", "auto")    # text or json; auto: json in production
  }

  request_timeout     = "10s"    # for one request, whatever it takes
  source_timeout      = "3s"     # for a source while another is in line
  last_source_timeout = "8s"     # for the last source in line
  shutdown_timeout    = "15s"
  negative_ttl        = "1m"     # how long "no such asset" is remembered
  watch               = false    # reload this file by itself when it changes; "islands reload" and SIGHUP always do

  # Finished answers in the host's own memory.
  near_cache {
    max_entries = 10000
    max_memory  = "64MiB"
  }
}

# How long an answer is fresh, and for how long after that it may still be served, marked stale, when nothing better can
# be had. A new strategy is a new line.

strategy "real_time"      { ttl = "30s" }    # stale_for = "24h" is the default
strategy "short_term"     { ttl = "5m" }
strategy "medium_term"    { ttl = "1h" }
strategy "long_term"      { ttl = "3h" }
strategy "very_long_term" { ttl = "24h" }

# The islands: programs that the host starts, watches and restarts. A relative binary lies beside the islands executable.
# "BINARY describe" says what its config block may hold. An island reads what any program needs to run, and writes nothing but
# temporary files; what else it may read or write is listed in reads and writes, as files and folders.

# Layer 1, infrastructure: remember.

island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"

  config {
    max_memory = "64MiB"
    redis_url  = env("REDIS_URL", "")    # empty: this host's memory alone
  }
}

# One of the two stores is enabled: Postgres where there is a DATABASE_URL, a file in the data folder where there is none.

island "sqlite-store" {
  layer   = "infrastructure"
  binary  = "plugins/sqlite-store"
  enabled = env("DATABASE_URL", "") == ""
  writes  = ["${host.data_dir}/store"]

  config {
    path      = "${host.data_dir}/store/islands.db"
    retention = "8760h"    # a year of quotes; "0s" keeps them for ever
  }
}

island "postgres-store" {
  layer   = "infrastructure"
  binary  = "plugins/postgres-store"
  enabled = env("DATABASE_URL", "") != ""

  config {
    url       = env("DATABASE_URL")
    retention = "8760h"    # a year of quotes; "0s" keeps them for ever
  }
}

# Layer 2, external services: fetch. Nothing else leaves the machine.

island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"

  config {
    url     = env("COINGECKO_URL", "https://api.coingecko.com/api/v3")
    api_key = env("COINGECKO_API_KEY", "")    # empty: anonymous, with fewer calls a minute
  }
}

island "binance-source" {
  layer  = "external_services"
  binary = "plugins/binance-source"

  config {
    url        = env("BINANCE_URL", "https://data-api.binance.vision")
    stream_url = env("BINANCE_STREAM_URL", "wss://data-stream.binance.vision")
  }
}

island "fear-greed" {
  layer  = "external_services"
  binary = "plugins/fear-greed"

  config {
    url = env("FEAR_GREED_URL", "https://api.alternative.me/fng/")
  }
}

# Layer 5, business logic: mean something.

island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
}

# Layer 3, communication, is the host: it walks the two roads below. Layer 4, observability, is the host too: it watches
# every call.

# The first road: a client asks. Cache, then store, then the sources in the order given here.

request {
  cache = "cache"
  store = ["postgres-store", "sqlite-store"]    # the one that is enabled

  quotes {
    sources  = ["coingecko-source", "binance-source"]
    strategy = "real_time"
  }

  candles {
    sources  = ["binance-source", "coingecko-source"]
    strategy = "long_term"
  }

  global {
    sources  = ["coingecko-source"]
    strategy = "short_term"
  }

  sentiment {
    sources  = ["fear-greed"]
    strategy = "medium_term"
  }

  catalogue {
    sources  = ["coingecko-source", "binance-source"]
    strategy = "very_long_term"
  }

  # GET /api/crypto-report/{symbol}
  report "crypto-report" {
    island   = "report-generator"
    strategy = "medium_term"
    warm     = ["btc", "eth"]    # made at start, so that the first client does not wait
  }

  # GET /api/technical-analysis/{symbol}: the indicators alone
  report "technical-analysis" {
    island   = "report-generator"
    strategy = "long_term"
    key      = "rsi_analysis"    # remembered as rsi_analysis_btc
  }
}

# The second road: clients listen. The sources stream where they can and are polled where they must.

broadcast {
  symbols = ["btc", "eth", "sol", "bnb", "xrp", "ada", "doge", "link"]
  sources = ["binance-source", "coingecko-source"]
  poll    = "30s"

  # What one client, and all of them together, may take.
  clients {
    max_connections = 20000
    max_per_address = 1000     # of one IP address
    origins         = ["*"]    # pages that may connect, such as "https://*.example.com"
  }
}
