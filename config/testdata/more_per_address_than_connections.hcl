island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    max_connections = 1000
    max_per_address = 2000
  }
}
