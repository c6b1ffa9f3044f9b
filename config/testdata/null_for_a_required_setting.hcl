island "sqlite-store" {
  layer  = "infrastructure"
  binary = "plugins/sqlite-store"
  config {
    path = null
  }
}
