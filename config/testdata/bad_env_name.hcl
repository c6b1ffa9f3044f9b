island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  env = { "BAD NAME" = "hunter2" }
}
