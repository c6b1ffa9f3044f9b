island "coingecko-source" {
  layer  = "external_services"
  binary = "plugins/coingecko-source"
}

broadcast {
  symbols = ["btc"]
  sources = ["coingecko-source"]

  clients {
    origins = [
      "example.com",
      "ftp://example.com",
      "https://example.com/live",
      "https://example.com/",
      "https://example.*",
      "https://user:hunter2@example.com",
      "http://localhost:65536",
      "",
    ]
  }
}
