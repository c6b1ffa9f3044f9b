# env: KEY=hunter2-hunter2
island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    api_key          = env("KEY")
    calls_per_minute = env("KEY")
  }
}
