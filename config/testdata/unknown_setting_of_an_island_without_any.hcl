island "report-generator" {
  layer  = "business_logic"
  binary = "plugins/report-generator"
  config { colour = "blue" }
}
