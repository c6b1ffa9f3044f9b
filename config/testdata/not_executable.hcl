island "cache" {
  layer  = "infrastructure"
  binary = "plugins/notes.txt"
}
island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins"
}
