island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    colour = "blue"
  }
}
