island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cash"
}
