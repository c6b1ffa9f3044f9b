island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    slow_timeout  = "5s"
    ping_interval = "5s"
  }
}
