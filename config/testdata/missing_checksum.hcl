# env: ISLANDS_ENV=production
island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
}
island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  enabled = false
}
