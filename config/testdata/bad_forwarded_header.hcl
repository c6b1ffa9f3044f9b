host {
  forwarded_header = "x-real-ip"
}
