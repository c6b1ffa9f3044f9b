host {
  limits {
    max_connections             = 100
    max_connections_per_address = 200
  }
}
