package gateway

import (
	"bytes"
	"context"
	"math"
	"net"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// steadyMarket answers every report with the same answer, as the near cache does, and nothing else.
type steadyMarket struct {
	Market
	answer Answer
	cool   bool // is to be asked by the routes
}

func (m *steadyMarket) Report(context.Context, string, string, string, string) (Answer, error) {
	return m.answer, nil
}

func (m *steadyMarket) WarmReport(string, string, string, string) (Answer, bool) {
	return m.answer, !m.cool
}

func (m *steadyMarket) HasSource(string) bool { return false }

// warm makes a gateway whose reports are warm, with a body of that size.
func warm(tb testing.TB, size int) *Gateway {
	tb.Helper()
	return steady(tb, size, false)
}

func steady(tb testing.TB, size int, cool bool) *Gateway {
	tb.Helper()
	m := &steadyMarket{cool: cool, answer: Answer{
		Representation: &Representation{
			Format: "json", ContentType: jsonType, Body: bytes.Repeat([]byte("x"), size), ETag: `"Zm9vYmFyYmF6cXV4"`,
			Gzip: bytes.Repeat([]byte("g"), size/3), ETagGzip: `"Zm9vYmFyYmF6cXV4-g"`,
			Brotli: bytes.Repeat([]byte("b"), size/4), ETagBrotli: `"Zm9vYmFyYmF6cXV4-b"`,
		},
		Tier: "near", StoredAt: time.Now(), FreshUntil: time.Now().Add(time.Hour), StaleUntil: time.Now().Add(24 * time.Hour),
	}}
	opts := options(newFakeMarket())
	opts.Market, opts.Now = m, time.Now
	return newTest(tb, opts)
}

// ask makes a request as a connection would leave it, to be answered again and again.
func ask(headers ...string) *fasthttp.RequestCtx {
	rctx := &fasthttp.RequestCtx{}
	rctx.Request.Header.SetMethod("GET")
	rctx.Request.SetRequestURI("/api/crypto-report/btc")
	rctx.Request.Header.SetHost("127.0.0.1:3000")
	rctx.Request.Header.Set("User-Agent", "bench")
	rctx.Request.Header.Set("Accept", "*/*")
	for i := 0; i < len(headers); i += 2 {
		rctx.Request.Header.Set(headers[i], headers[i+1])
	}
	return rctx
}

// again answers a request once more, as a connection that is kept alive does.
func again(handler fasthttp.RequestHandler, rctx *fasthttp.RequestCtx) {
	rctx.Response.Reset()
	rctx.ResetUserValues()
	handler(rctx)
}

// bareFiber answers with the same bytes and headers as a warm report, and does nothing else.
func bareFiber(tb testing.TB, size int) fasthttp.RequestHandler {
	tb.Helper()
	g := warm(tb, size)
	rctx := ask()
	again(g.Handler(), rctx)
	type field struct{ name, value string }
	var fields []field
	for name, value := range rctx.Response.Header.All() {
		switch string(name) {
		case "Content-Length", "Date", "Server":
		default:
			fields = append(fields, field{string(name), string(value)})
		}
	}
	body := bytes.Clone(rctx.Response.Body())
	app := fiber.New(fiber.Config{StrictRouting: true, CaseSensitive: true, DisableDefaultContentType: true})
	app.Get("/api/crypto-report/:symbol", func(c *fiber.Ctx) error {
		for i := range fields {
			c.Set(fields[i].name, fields[i].value)
		}
		c.Response().SetBodyRaw(body)
		return nil
	})
	return app.Handler()
}

func BenchmarkWarmReport(b *testing.B) {
	handler, rctx := warm(b, 2048).Handler(), ask()
	b.ReportAllocs()
	for b.Loop() {
		again(handler, rctx)
	}
}

func BenchmarkRoutedReport(b *testing.B) {
	handler, rctx := steady(b, 2048, true).Handler(), ask()
	b.ReportAllocs()
	for b.Loop() {
		again(handler, rctx)
	}
}

func BenchmarkBareFiber(b *testing.B) {
	handler, rctx := bareFiber(b, 2048), ask()
	b.ReportAllocs()
	for b.Loop() {
		again(handler, rctx)
	}
}

func BenchmarkWarmReportBrotli(b *testing.B) {
	handler, rctx := warm(b, 2048).Handler(), ask("Accept-Encoding", "gzip, deflate, br, zstd")
	b.ReportAllocs()
	for b.Loop() {
		again(handler, rctx)
	}
}

func BenchmarkWarmReportNotModified(b *testing.B) {
	handler, rctx := warm(b, 2048).Handler(), ask("If-None-Match", `"Zm9vYmFyYmF6cXV4"`)
	b.ReportAllocs()
	for b.Loop() {
		again(handler, rctx)
	}
}

// overLoopback measures a request and its answer on one kept connection, client included.
func overLoopback(b *testing.B, handler fasthttp.RequestHandler) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &fasthttp.Server{Handler: handler, NoDefaultServerHeader: true}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	request := []byte("GET /api/crypto-report/btc HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	answer := make([]byte, 16<<10)
	ask := func() int {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := conn.Read(answer) // Header and body leave in one write.
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	want := ask()
	for b.Loop() {
		if n := ask(); n != want {
			b.Fatalf("%d bytes, want %d", n, want)
		}
	}
	_ = conn.Close()
	if err := s.Shutdown(); err != nil {
		b.Error(err)
	}
	if err := <-served; err != nil {
		b.Error(err)
	}
}

func BenchmarkWarmReportLoopback(b *testing.B) { overLoopback(b, warm(b, 2048).Handler()) }

func BenchmarkBareFiberLoopback(b *testing.B) { overLoopback(b, bareFiber(b, 2048)) }

// TestWarmReportAllocatesLittle holds the promise of the warm answer: a few small allocations, whatever the body's size.
func TestWarmReportAllocatesLittle(t *testing.T) {
	allocations := func(size int, cool bool, headers ...string) float64 {
		handler, rctx := steady(t, size, cool).Handler(), ask(headers...)
		least := math.Inf(1)
		for range 50 { // The race detector has pools forget things at random: the least is what is needed.
			least = min(least, testing.AllocsPerRun(1, func() { again(handler, rctx) }))
		}
		return least
	}
	for cool, most := range map[bool]float64{false: 0, true: 2} {
		small, large := allocations(512, cool), allocations(4<<20, cool)
		if small != large || small > most {
			t.Errorf("by the routes: %v: %v allocations for a small body, %v for a large one; want the same and at most %v",
				cool, small, large, most)
		}
		if packed := allocations(4<<20, cool, "Accept-Encoding", "gzip, br"); packed != small {
			t.Errorf("by the routes: %v: %v allocations for a compressed body, want %v", cool, packed, small)
		}
	}
}
