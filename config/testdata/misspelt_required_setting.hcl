island "sqlite-store" {
  layer  = "infrastructure"
  binary = "plugins/sqlite-store"
  config {
    paht = "data/islands.db"
  }
}
