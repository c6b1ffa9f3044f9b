# env: EMPTY=
island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    api_key = lower(env("COINGECKO_API_KEY"))
    url     = env("EMPTY")
  }
}
