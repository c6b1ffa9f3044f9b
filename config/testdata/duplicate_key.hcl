island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
}
strategy "real_time" { ttl = "30s" }

request {
  report "crypto-report" {
    island   = "report-generator"
    strategy = "real_time"
    key      = "crypto"
  }
  report "technical-analysis" {
    island   = "report-generator"
    strategy = "real_time"
    key      = "crypto_analysis"    # crypto_analysis_eur: of "analysis" in eur, or of "eur"?
  }
}
