// Package upstream is the polite HTTP client for islands that fetch. It keeps to a budget, tries again when that makes
// sense, stops when it is told to, bounds every call in time and size, and answers each failure as an [sdk.Kind]. A key
// that it sends never shows in an error or a log line.
//
//	client := upstream.New(upstream.Options{
//		BaseURL: "https://api.example.com/v1",
//		Headers: map[string]sdk.Secret{"X-Api-Key": key},
//		Limit:   upstream.Limit{PerMinute: 30},
//		Logger:  cfg.Logger,
//	})
//	defer client.Close()
//	err := client.GetJSON(ctx, upstream.Request{Path: "/coins", Query: url.Values{"page": {"1"}}, Retries: req.Retries}, &body)
//
// # Design
//
// The budget is a bucket that starts full and refills with what the burst leaves of the minute's budget, so that no
// minute whatsoever holds more than PerMinute. A bucket that refilled with the whole budget would let twice as much
// through in the first minute, which upstreams that count by the minute answer with a 429. A call takes its weight in
// the same locked step that asks for it, failed calls and retries included, because upstreams count those too.
//
// Nobody hangs: a call that would have to wait longer than its deadline allows, or longer than two seconds for the
// budget, comes back at once as RateLimited with RetryAfter, so that the host can ask another source.
//
// Retry-After is obeyed by the client as a whole: until then every call is refused without touching the network. The
// retry policy is failsafe-go's, with a delay function of our own, because its jitter may shorten a Retry-After and it
// does not read HTTP dates. A 429 without a Retry-After silences the client for a minute, yet the call that met it may
// go on to try 1 s, 2 s and 4 s later if it was allowed retries; when it gets through, the silence is over.
//
// A 404 or 410 has two meanings: the upstream does not have what was asked for, or the base URL is wrong and something
// else answers, such as a proxy. Only the first may count as an upstream at work, else a source that can never answer
// looks healthy. An API says in JSON what it does not have, so a page, a text or nothing at all is BadUpstream. Where the
// upstream has words of its own for it, Classify should ask for those; a path that always exists is Request.Fixed.
//
// Errors name the method, the path and the status, and never the host, the query or a header, because keys live there.
// What the upstream says is quoted, shortened and searched for the keys first: some upstreams echo them.
//
// Redirects to another host are refused, because Go's client would take unknown headers, keys among them, along.
package upstream
