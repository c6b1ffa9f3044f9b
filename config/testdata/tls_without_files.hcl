host {
  tls {
    cert_file      = "no/such/cert.pem"
    key_file       = "no/such/key.pem"
    client_ca_file = "no/such/ca.pem"
  }
}
