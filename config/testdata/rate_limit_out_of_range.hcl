host {
  rate_limit {
    requests = 0
    per      = "48h"
    burst    = 1e9
  }
}
