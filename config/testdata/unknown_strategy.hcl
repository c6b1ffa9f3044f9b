island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}
strategy "real_time" { ttl = "30s" }
strategy "short_term" { ttl = "5m" }

request {
  quotes {
    sources  = ["coingecko-source"]
    strategy = "realtime"
  }
}
