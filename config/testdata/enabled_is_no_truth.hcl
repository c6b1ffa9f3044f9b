island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  enabled = "perhaps"
}
