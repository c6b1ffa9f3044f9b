strategy "real_time" {
  ttl = 30
}
