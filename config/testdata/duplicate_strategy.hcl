strategy "real_time" { ttl = "30s" }
strategy "real_time" { ttl = "60s" }
