island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/newer-source"
}
