package gateway

import (
	"net/http"
	"testing"
)

func TestChooseFormat(t *testing.T) {
	formats := []string{"json", "html", "md"}
	for name, tt := range map[string]struct{ accept, want string }{
		"nothing said":          {"", "json"},
		"anything":              {"*/*", "json"},
		"a browser":             {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"},
		"markdown":              {"text/markdown", "md"},
		"any text":              {"text/*", "html"},
		"text, but not html":    {"text/*, text/html;q=0", "md"},
		"weights":               {"application/json;q=0.2, text/markdown;q=0.3", "md"},
		"equal weights":         {"text/markdown, application/json", "json"},
		"specific outranks any": {"*/*;q=1, application/json;q=0.1", "html"},
		"case":                  {"Application/JSON", "json"},
		"parameters":            {"text/html;level=1;q=0.4, application/json;q=0.3", "html"},
		"nothing there is":      {"image/png", ""},
		"refused":               {"application/json;q=0", ""},
		"bad weight":            {"application/json;q=2, text/html", "html"},
		"garbage":               {";;;,,,", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := chooseFormat(tt.accept, formats); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestChooseCoding(t *testing.T) {
	for name, tt := range map[string]struct {
		accept   string
		gzip, br bool
		want     coding
	}{
		"nothing said":        {"", true, true, identity},
		"a browser":           {"gzip, deflate, br, zstd", true, true, brotlied},
		"gzip only":           {"gzip", true, true, gzipped},
		"old name":            {"x-gzip", true, true, gzipped},
		"no brotli there":     {"br, gzip", true, false, gzipped},
		"nothing there":       {"br, gzip", false, false, identity},
		"weights":             {"br;q=0.5, gzip;q=0.8", true, true, gzipped},
		"refused":             {"br;q=0, gzip", true, true, gzipped},
		"anything":            {"*", true, true, brotlied},
		"anything but":        {"*, br;q=0", true, true, gzipped},
		"identity preferred":  {"identity, gzip;q=0.5", true, true, identity},
		"identity refused":    {"identity;q=0", true, true, identity},
		"low weight is still": {"gzip;q=0.001", true, true, gzipped},
		"garbage":             {"gzip;q=high, ;", true, true, identity},
	} {
		t.Run(name, func(t *testing.T) {
			if got := chooseCoding(tt.accept, tt.gzip, tt.br); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

func TestMatchesTag(t *testing.T) {
	for name, tt := range map[string]struct {
		header string
		want   bool
	}{
		"same": {`"a"`, true}, "weak": {`W/"a"`, true}, "list": {`"x", W/"y" , "a"`, true}, "star": {" * ", true},
		"other": {`"b"`, false}, "part": {`"ab"`, false}, "unquoted": {`a`, false}, "open": {`"a`, false}, "nothing": {``, false},
		"commas": {`,,"a"`, true}, "comma within": {`"x,a", "b"`, false}, "star in a list": {`"b", *`, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := matchesTag([]byte(tt.header), `"a"`); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestCodingsAndConditions(t *testing.T) {
	m := newFakeMarket()
	m.answer.Representation = &Representation{
		Format: "json", ContentType: jsonType, Body: []byte("plain body"), ETag: `"p"`,
		Gzip: []byte("gz"), ETagGzip: `"p-g"`, Brotli: []byte("br"), ETagBrotli: `"p-b"`,
	}
	g := newTest(t, options(m))
	for name, tt := range map[string]struct {
		encoding, condition  string
		status               int
		body, tag, contentIs string
	}{
		"plain":                  {"", "", 200, "plain body", `"p"`, ""},
		"gzip":                   {"gzip", "", 200, "gz", `"p-g"`, "gzip"},
		"brotli":                 {"gzip, br", "", 200, "br", `"p-b"`, "br"},
		"known":                  {"", `"p"`, 304, "", `"p"`, ""},
		"known weakly, in a row": {"br", `"x", W/"p-b"`, 304, "", `"p-b"`, ""},
		"any":                    {"gzip", "*", 304, "", `"p-g"`, ""},
		"known in another form":  {"br", `"p"`, 200, "br", `"p-b"`, "br"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if tt.encoding != "" {
				headers = append(headers, "Accept-Encoding", tt.encoding)
			}
			if tt.condition != "" {
				headers = append(headers, "If-None-Match", tt.condition)
			}
			r := get(t, g, "/api/crypto-report/btc", headers...)
			if r.StatusCode != tt.status || string(r.body) != tt.body || r.Header.Get("ETag") != tt.tag ||
				r.Header.Get("Content-Encoding") != tt.contentIs {
				t.Errorf("%d %q %v", r.StatusCode, r.body, r.Header)
			}
			if r.Header.Get("Cache-Control") == "" || r.Header.Get("Vary") != "Accept, Accept-Encoding" {
				t.Errorf("%v", r.Header)
			}
			if r.StatusCode == http.StatusNotModified && r.Header.Get("Content-Type") != "" {
				t.Errorf("304 with a content type: %v", r.Header)
			}
			head := send(t, g, http.MethodHead, "/api/crypto-report/btc", "", headers...)
			if head.StatusCode != tt.status || len(head.body) != 0 || head.Header.Get("ETag") != tt.tag {
				t.Errorf("HEAD: %d %q %v", head.StatusCode, head.body, head.Header)
			}
			if tt.status == 200 && head.ContentLength != int64(len(tt.body)) {
				t.Errorf("HEAD: length %d", head.ContentLength)
			}
		})
	}
}

func TestAcceptDecidesTheFormat(t *testing.T) {
	m := newFakeMarket()
	g := newTest(t, options(m))
	r := get(t, g, "/api/crypto-report/btc", "Accept", "text/html")
	if r.Header.Get("Content-Type") != "text/html; charset=utf-8" || r.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%v", r.Header)
	}
	for _, target := range []string{"/api/crypto-report/btc", "/api/market-data/btc", "/api/symbols", "/api/market-data?symbols=btc"} {
		isProblem(t, get(t, g, target, "Accept", "image/png"), http.StatusNotAcceptable)
	}
	if r := get(t, g, "/health/live", "Accept", "image/png"); r.StatusCode != http.StatusOK {
		t.Errorf("a probe got %d", r.StatusCode)
	}
}

func TestCrossOrigin(t *testing.T) {
	g := newTest(t, options(newFakeMarket()))
	r := send(t, g, http.MethodOptions, "/api/crypto-report/btc", "", "Origin", "https://example.com", "Access-Control-Request-Method", "GET")
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != "*" ||
		r.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" || r.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	r = send(t, g, http.MethodPost, "/api/crypto-report/btc", "")
	if got := r.Header.Get("Allow"); got != "GET, HEAD, OPTIONS" {
		t.Errorf("Allow: %q", got)
	}
	isProblem(t, send(t, g, http.MethodOptions, "/nothing", ""), http.StatusNotFound)
}
