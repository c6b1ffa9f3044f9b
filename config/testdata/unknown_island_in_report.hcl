island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
}
strategy "real_time" { ttl = "30s" }

request {
  report "crypto-report" {
    island   = "report-generater"
    strategy = "real_time"
  }
}
