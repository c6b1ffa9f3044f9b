host {
  listen = env("ISLANDS_LISTEN")
}
