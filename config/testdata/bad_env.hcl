# env: KEY=hunter2
island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
  env = { "BAD NAME" = env("KEY"), LIST = ["hunter2"] }
}
