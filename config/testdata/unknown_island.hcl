island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}
strategy "real_time" { ttl = "30s" }

request {
  quotes {
    sources  = ["coingeko-source"]
    strategy = "real_time"
  }
}
