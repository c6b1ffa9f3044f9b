island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  restart {
    max_crashes = 0
    backoff_min = "1m"
    backoff_max = "10s"
  }
  health {
    misses = "three"
  }
}
