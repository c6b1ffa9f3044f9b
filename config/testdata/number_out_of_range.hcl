host {
  limits {
    max_symbols = 1e999999999
  }
}
