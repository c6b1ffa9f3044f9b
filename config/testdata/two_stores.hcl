island "sqlite-store" {
  layer  = "infrastructure"
  binary = "plugins/sqlite-store"
  config { path = "islands.db" }
}
island "postgres-store" {
  layer  = "infrastructure"
  binary = "plugins/postgres-store"
  config { url = "postgres://u:hunter2@127.0.0.1/islands" }
}

request {
  store = ["sqlite-store", "postgres-store"]
}
