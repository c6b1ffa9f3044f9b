island "a" {
  layer   = "external_services"
  binary  = "/usr/lib/islands/a"
  enabled = false
  limits {
    memory     = "1MiB"
    processors = 0
    files      = 3
    max_calls  = 0
  }
}
