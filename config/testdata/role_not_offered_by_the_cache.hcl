island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

request {
  cache = "coingecko-source"
}
