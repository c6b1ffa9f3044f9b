island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  calls_per_minute = 30
}
