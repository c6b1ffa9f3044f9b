# env: KEY=hunter2
island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  config {
    api_key = {a = 1}[env("KEY", "hunter2")]
  }
}
