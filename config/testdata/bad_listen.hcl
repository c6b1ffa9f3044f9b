host {
  listen = "3000"
}
