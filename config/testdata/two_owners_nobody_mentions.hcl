island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
}
island "second-cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
}
