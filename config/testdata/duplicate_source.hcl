island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}
strategy "real_time" { ttl = "30s" }

request {
  quotes {
    sources  = ["coingecko-source", "coingecko-source"]
    strategy = "real_time"
  }
}
