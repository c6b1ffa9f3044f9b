host { data_dir = "/var/lib/islands" }

island "a" {
  layer   = "external_services"
  binary  = "/usr/lib/islands/a"
  enabled = false
  reads   = ["/var/lib/islands", ""]
  writes  = ["${host.data_dir}/store", host.data_dir, "/var", "/var/lib/islands/", 7]
  confine = "perhaps"
}
