island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    api_key = "hunter2"
    api_key = "hunter2"
  }
}
