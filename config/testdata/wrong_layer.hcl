island "coingecko-source" {
  layer  = "infrastructure"
  binary = "plugins/coingecko-source"
}
