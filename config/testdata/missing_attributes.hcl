strategy "real_time" {}
island "cache" {}
request {
  quotes {}
  report "crypto-report" {}
}
broadcast {}
