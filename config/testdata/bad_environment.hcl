# env: ISLANDS_ENV=prod
host {
  environment = env("ISLANDS_ENV", "development")
}
