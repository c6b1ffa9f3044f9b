island "postgres-store" {
  layer  = "infrastructure"
  binary = "plugins/postgres-store"
  config {
    url = env("DATABASE_URL")
  }
}
