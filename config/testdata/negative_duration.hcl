host {
  request_timeout = "-10s"
  negative_ttl    = "200000h"
}
strategy "real_time" {
  ttl       = "0s"
  stale_for = "-1h"
}
