host {
  rate_limit {
    per = "1s"
  }
}
