island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
}
strategy "real_time" { ttl = "30s" }

request {
  report "crypto-report" {
    island   = "report-generator"
    strategy = "real_time"
    warm     = ["BTC", "eth/usd", "", "../btc", "btc"]
  }
}
