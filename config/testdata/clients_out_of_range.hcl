island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    max_connections     = 1000001
    max_per_address     = 0
    max_subscriptions   = 10001
    messages_per_second = 1.5
    max_message         = "127B"
    max_pending         = "65MiB"
    history             = 1048575
  }
}
