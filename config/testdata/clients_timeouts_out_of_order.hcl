island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    slow_timeout  = "30s"
    write_timeout = "1m"
    ping_interval = "25s"
    pong_timeout  = "26s"
  }
}
