island "binance-source" {
  layer  = "external_services"
  binary = "plugins/binance-source"
  config {
    symbols = ["BTCUSDT", 1]
    url     = { host = "example.com" }
  }
}
