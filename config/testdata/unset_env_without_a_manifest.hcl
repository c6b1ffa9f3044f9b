island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/nothing"
  config {
    api_key = env("COINGECKO_API_KEY")
  }
}
