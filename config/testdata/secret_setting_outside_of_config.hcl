island "postgres-store" {
  layer  = "infrastructure"
  binary = "plugins/postgres-store"
  url    = "hunter2"
}
