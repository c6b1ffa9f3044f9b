strategy "real-time" { ttl = "30s" }
island "Cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
}
