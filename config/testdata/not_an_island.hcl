island "cache" {
  layer  = "infrastructure"
  binary = "plugins/broken"
}
