island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    calls_per_minute = 1.5
    timeout          = "-3s"
  }
}
island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
  config {
    max_memory  = "64MiX"
    max_entries = 1e20
  }
}
