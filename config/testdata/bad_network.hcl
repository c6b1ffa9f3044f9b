host {
  trusted_proxies = ["10.0.0.0/33", "proxy.example.com", "0.0.0.0/0", "fe80::1%eth0", "192.0.2.0/24"]
}
