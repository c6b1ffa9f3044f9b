island "cache" {
  config {
    redis_url = "redis://user:hunter2@127.0.0.1:6379
    api_token = hunter2 hunter2
    api_key   = env("KEY", "hunter2
  }
