# env: ISLANDS_ENV=produktion
host {
}
