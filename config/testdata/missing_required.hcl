island "sqlite-store" {
  layer  = "infrastructure"
  binary = "plugins/sqlite-store"
}
island "postgres-store" {
  layer   = "infrastructure"
  binary  = "plugins/postgres-store"
  enabled = false
}
