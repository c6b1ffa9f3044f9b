host {
  request_timeout     = "5s"
  source_timeout      = "9s"
  last_source_timeout = "8s"
}
