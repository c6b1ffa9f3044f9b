island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
  sha256 = "sha256:00"
}
