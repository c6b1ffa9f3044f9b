island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    redis_url = "redis://user:hunter2@127.0.0.1"
  }
}
