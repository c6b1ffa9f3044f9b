host {
  limits {
    max_symbols       = 251
    max_cold_requests = 1e30
  }
}
