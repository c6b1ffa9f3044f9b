host {
  spool {
    max_size = "10KiB"
    max_age  = "0s"
    sync     = "-1s"
  }
}
