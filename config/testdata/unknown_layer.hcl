island "coingecko-source" {
  layer  = "external_service"
  binary = "plugins/coingecko-source"
}
