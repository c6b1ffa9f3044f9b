host {
  listen   = "127.0.0.1:3000"
  data_dir = host.listen
}
