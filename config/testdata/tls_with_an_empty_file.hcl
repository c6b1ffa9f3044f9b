host {
  tls {
    cert_file = ""
    key_file  = "key.pem"
    hsts      = "-1s"
  }
}
