island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    cals_per_minute = 30
  }
}
