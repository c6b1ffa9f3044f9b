host {
  watch = "often"
}
