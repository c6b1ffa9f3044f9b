island "binance-source" {
  layer  = "external_services"
  binary = "plugins/binance-source"
  config {
    symbol {
      pair = "BTCUSDT"
    }
  }
}
