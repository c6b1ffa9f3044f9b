island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    slow_timeout  = "0s"
    write_timeout = "-1s"
    ping_interval = 25
    pong_timeout  = "soon"
    heartbeat     = "0s"
  }
}
