island "coingecko-source" {
  layer  = "communication"
  binary = "plugins/coingecko-source"
}
