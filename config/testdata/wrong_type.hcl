island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
  config {
    max_entries = "many"
    max_memory  = true
  }
}
