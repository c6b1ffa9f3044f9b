island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
}
strategy "real_time" { ttl = "30s" }

request {
  report "market-data" {
    island   = "report-generator"
    strategy = "real_time"
    key      = "global"
  }
}
