host {
  listen = "127.0.0.1:3000"
}
host {
  data_dir = "data"
}
