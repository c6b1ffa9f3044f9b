island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
  sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
}
