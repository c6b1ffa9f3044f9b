island "cache" {
  layer  = "infrastructure"
  binary = "plugins/cache"
}

request {
  cache = "memcached"
}
