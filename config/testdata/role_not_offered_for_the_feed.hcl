island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
}

broadcast {
  symbols = ["btc"]
  sources = ["cache"]
}
