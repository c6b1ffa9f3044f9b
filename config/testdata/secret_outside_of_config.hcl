island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  api_key = "hunter2"
}
