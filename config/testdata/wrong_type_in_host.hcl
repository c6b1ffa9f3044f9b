host {
  listen      = 3000
  admin_token = ["hunter2"]
  near_cache {
    max_entries = 1.5
    max_memory  = "much"
  }
}
