host {
  data_dir = replace(replace("aaaaaaaaaaaaaaaa", "a", "bbbbbbbbbbbbbbbb"), "b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
  listen   = format("%999d", 1)
}
