island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
  config {
    maxMemory = "64MiB"
  }
}
