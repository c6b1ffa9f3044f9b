host {
  tls {
    cert_file   = "cert.pem"
    min_version = "1.1"
  }
}
