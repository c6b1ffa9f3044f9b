broadcast {
  symbols = [for s in ["BTC"] : lower(s)]
}
