island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    enabled = true
    limits {
      memory = "64MiB"
    }
  }
}
