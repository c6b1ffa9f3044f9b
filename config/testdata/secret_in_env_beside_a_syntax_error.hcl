island "cache" {
  env = { API_KEY = "hunter2", OTHER_TOKEN: "hunter2" ]
}
