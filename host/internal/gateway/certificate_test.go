package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// pair is a certificate of itself for 127.0.0.1, with its key, in PEM.
type pair struct {
	cert, key []byte
	tls       tls.Certificate
	pool      *x509.CertPool
}

func newPair(t *testing.T, number int64, ends time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "islands"}, NotBefore: ends.Add(-365 * 24 * time.Hour), NotAfter: ends,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pool: x509.NewCertPool(),
	}
	if p.tls, err = tls.X509KeyPair(p.cert, p.key); err != nil {
		t.Fatal(err)
	}
	p.pool.AppendCertsFromPEM(p.cert)
	return p
}

// write puts a pair into a folder as cert.pem and key.pem.
func (p pair) write(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string][]byte{"key.pem": p.key, "cert.pem": p.cert} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func tlsIn(dir string) TLS {
	return TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
}

// secureClient trusts a pair.
func secureClient(p pair, certificates ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: p.pool, Certificates: certificates, MinVersion: tls.VersionTLS12},
	}}
}

// inAYear is when certificates of tests end.
func inAYear() time.Time { return time.Now().Add(300 * 24 * time.Hour) }

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPair(t, 1, inAYear())
	p.write(t, dir)
	opts := options(newFakeMarket())
	set := tlsIn(dir)
	set.HSTS = time.Hour
	opts.TLS = &set
	l := startLiveWith(t, opts)
	client := secureClient(p)

	t.Run("requests", func(t *testing.T) {
		r, err := client.Get(l.URL() + "/api/crypto-report/btc")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK || r.Header.Get("Strict-Transport-Security") != "max-age=3600" || len(readAll(t, r)) == 0 {
			t.Errorf("%d %v", r.StatusCode, r.Header)
		}
		if r.TLS.NegotiatedProtocol != "" && r.TLS.NegotiatedProtocol != "http/1.1" {
			t.Errorf("negotiated %q", r.TLS.NegotiatedProtocol)
		}
	})
	t.Run("an old version", func(t *testing.T) {
		_, err := tls.Dial("tcp", l.Addr(), &tls.Config{RootCAs: p.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err == nil {
			t.Error("TLS 1.1 was spoken")
		}
	})
	t.Run("plain HTTP", func(t *testing.T) {
		r, err := fetch("http://" + l.Addr() + "/health/live")
		if err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				t.Error("it was answered in the clear")
			}
		}
	})
	t.Run("a socket", func(t *testing.T) {
		conn, _, err := websocket.Dial(t.Context(), "wss://"+l.Addr()+"/ws", &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // It is the connection.
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.CloseNow() }()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for seen := 0; seen < 10; {
			_, text, err := conn.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte(`"market_update"`)) {
				seen++
			}
			l.publish(1) // What it was told last is behind what it is told next.
		}
	})
	t.Run("an event stream", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL()+"/api/stream?channels=ticker:btc", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		head := make([]byte, len("retry: 2000\n\nevent: welcome"))
		if _, err := io.ReadFull(r.Body, head); err != nil || !strings.HasSuffix(string(head), "event: welcome") {
			t.Errorf("%q, %v", head, err)
		}
	})
}

// A client over TLS that does not read is gone after a while, and holds up nobody meanwhile.
func TestASlowClientOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPair(t, 1, inAYear())
	p.write(t, dir)
	opts := options(newFakeMarket())
	set := tlsIn(dir)
	opts.TLS = &set
	l := startFeed(t, hub.Options{}, opts)
	slow, err := tls.Dial("tcp", l.Addr(), &tls.Config{RootCAs: p.pool, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	_ = slow.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10) //nolint:forcetypeassert // It is one.
	if _, err := io.WriteString(slow, "GET /ws HTTP/1.1\r\nHost: x\r\n"+strings.Join([]string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
	}, "\r\n")); err != nil {
		t.Fatal(err)
	}
	l.clients(t, 1)
	l.flood(t, "the slow client is gone", func() bool { return l.hub.Stats().Clients == 0 })
	r, err := secureClient(p).Get(l.URL() + "/health/live")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, known, stranger := newPair(t, 1, inAYear()), newPair(t, 2, inAYear()), newPair(t, 3, inAYear())
	server.write(t, dir)
	set := tlsIn(dir)
	set.ClientCAFile = filepath.Join(dir, "clients.pem")
	if err := os.WriteFile(set.ClientCAFile, known.cert, 0o600); err != nil {
		t.Fatal(err)
	}
	opts := options(newFakeMarket())
	opts.TLS = &set
	g := started(t, opts, defaultLimits())
	for name, tt := range map[string]struct {
		client *http.Client
		ok     bool
	}{
		"known": {secureClient(server, known.tls), true}, "none": {secureClient(server), false}, "stranger": {secureClient(server, stranger.tls), false},
	} {
		r, err := tt.client.Get(g.URL() + "/health/live")
		if err == nil {
			_ = r.Body.Close()
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// serial is the number of the certificate that is shown.
func (c *certificates) serial() int64 {
	return c.current.Load().Certificates[0].Leaf.SerialNumber.Int64()
}

func TestCertificatesAreReloaded(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	// As Kubernetes does it: the files are links through a folder that is a link.
	for i, name := range []string{"first", "second"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
		newPair(t, int64(i+1), inAYear()).write(t, filepath.Join(parent, name))
	}
	link := filepath.Join(parent, "data")
	if err := os.Symlink("first", link); err != nil {
		t.Fatal(err)
	}
	log := &logLines{}
	c, err := loadCertificates(tlsIn(link), hclog.New(&hclog.LoggerOptions{Output: log}), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c.look()
	if c.serial() != 1 || c.reloads.Load() != 0 {
		t.Errorf("certificate %d after %d reloads", c.serial(), c.reloads.Load())
	}
	if err := os.Symlink("second", link+"-next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"-next", link); err != nil {
		t.Fatal(err)
	}
	c.look()
	if c.serial() != 2 || c.reloads.Load() != 1 {
		t.Errorf("certificate %d after %d reloads", c.serial(), c.reloads.Load())
	}
	// A pair that does not fit keeps the one before it, and is told of once.
	other := newPair(t, 3, inAYear())
	if err := os.WriteFile(filepath.Join(parent, "second", "key.pem"), append(other.key, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.look()
	}
	if lines := log.with("TLS certificate cannot be used"); c.serial() != 2 || len(lines) != 1 || strings.Contains(lines[0], "PRIVATE") {
		t.Errorf("certificate %d, and %q", c.serial(), lines)
	}
	other.write(t, filepath.Join(parent, "second"))
	c.look()
	if c.serial() != 3 {
		t.Errorf("certificate %d", c.serial())
	}
}

func TestCertificatesThatEndSoon(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		left  time.Duration
		lines map[string]int
	}{
		{"a month", 30 * 24 * time.Hour, map[string]int{"expires soon": 0, "has expired": 0}},
		{"a week", 7 * 24 * time.Hour, map[string]int{"expires soon": 3, "has expired": 0}},
		{"over", -time.Hour, map[string]int{"expires soon": 0, "has expired": 3}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			now := time.Now()
			newPair(t, 1, now.Add(test.left)).write(t, dir)
			log := &logLines{}
			c, err := loadCertificates(tlsIn(dir), hclog.New(&hclog.LoggerOptions{Output: log}), func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			for range 2 * 24 { // Two days, and the moment of the start.
				now = now.Add(time.Hour)
				c.look()
			}
			for text, want := range test.lines {
				if got := len(log.with(text)); got != want {
					t.Errorf("%d lines %q, want %d", got, text, want)
				}
			}
		})
	}
}

func TestCertificatesThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := options(newFakeMarket())
	set := tlsIn(dir)
	opts.TLS = &set
	g := newTest(t, opts)
	if err := g.Start(); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("started with %v", err)
	}
}
