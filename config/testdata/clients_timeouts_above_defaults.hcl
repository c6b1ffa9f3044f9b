island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    write_timeout = "31s"
    pong_timeout  = "30s"
  }
}
