request {
  quote {}
}
strategies {}
