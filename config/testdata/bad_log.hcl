host {
  log {
    level  = "warning"
    format = "xml"
  }
}
