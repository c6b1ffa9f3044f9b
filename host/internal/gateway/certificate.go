package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TLS is how the API is served over TLS.
type TLS struct {
	// CertFile and KeyFile are PEM files, the first with what stands between the certificate and its issuer.
	CertFile, KeyFile string
	// ClientCAFile holds who must have issued the certificate of every client, in PEM; empty asks for none.
	ClientCAFile string
	// MinVersion such as tls.VersionTLS13; TLS 1.2 when zero.
	MinVersion uint16
	// HSTS is how long browsers shall come back over TLS only; 0 does not ask them to.
	HSTS time.Duration
}

// certificates are what the API shows over TLS. The files are looked at once a second, through whatever links lead to
// them, which is how both certbot and Kubernetes replace them. What cannot be used changes nothing, and is told of once.
type certificates struct {
	opts   TLS
	logger hclog.Logger
	now    func() time.Time

	current atomic.Pointer[tls.Config]
	expires atomic.Int64 // in seconds of Unix
	// Of loads that followed the first.
	reloads, failures atomic.Uint64

	seen   []fileMark
	warned time.Time
}

// fileMark tells one state of a file from another.
type fileMark struct {
	info os.FileInfo
	size int64
	at   time.Time
}

func (m fileMark) same(other fileMark) bool {
	if m.info == nil || other.info == nil {
		return m.info == nil && other.info == nil
	}
	return os.SameFile(m.info, other.info) && m.size == other.size && m.at.Equal(other.at)
}

// Times of looking at certificates.
const (
	certificateLook    = time.Second
	certificateWarning = 14 * 24 * time.Hour // before the end
	certificateReminds = 24 * time.Hour
)

// loadCertificates reads the files for the first time.
func loadCertificates(opts TLS, logger hclog.Logger, now func() time.Time) (*certificates, error) {
	c := &certificates{opts: opts, logger: logger, now: now}
	if c.opts.MinVersion == 0 {
		c.opts.MinVersion = tls.VersionTLS12
	}
	c.seen = c.marks()
	config, err := c.read()
	if err != nil {
		return nil, err
	}
	c.use(config)
	return c, nil
}

// config is what a listener is given: each handshake takes the certificate that is current.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: c.opts.MinVersion, NextProtos: []string{"http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}

// run looks at the files until the context ends.
func (c *certificates) run(ctx context.Context) {
	ticker := time.NewTicker(certificateLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.look()
		}
	}
}

// look reads the files again when one of them has changed.
func (c *certificates) look() {
	defer c.remind()
	marks := c.marks() // Before they are read: what changes meanwhile is read next time.
	changed := false
	for i := range marks {
		changed = changed || !marks[i].same(c.seen[i])
	}
	if !changed {
		return
	}
	c.seen = marks
	config, err := c.read()
	if err != nil {
		c.failures.Add(1)
		c.logger.Error("TLS certificate cannot be used, the one before it is kept", "error", err,
			"not_after", time.Unix(c.expires.Load(), 0).UTC().Format(time.RFC3339))
		return
	}
	c.reloads.Add(1)
	c.use(config)
	c.logger.Info("TLS certificate reloaded", "cert_file", c.opts.CertFile,
		"not_after", time.Unix(c.expires.Load(), 0).UTC().Format(time.RFC3339))
}

// marks are the states of the files.
func (c *certificates) marks() []fileMark {
	var marks []fileMark
	for _, path := range []string{c.opts.CertFile, c.opts.KeyFile, c.opts.ClientCAFile} {
		var mark fileMark
		if path != "" {
			if info, err := os.Stat(path); err == nil {
				mark = fileMark{info: info, size: info.Size(), at: info.ModTime()}
			}
		}
		marks = append(marks, mark)
	}
	return marks
}

// read makes a configuration of the files. Its errors name the files, and nothing that is in them.
func (c *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.opts.CertFile, c.opts.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.opts.CertFile, c.opts.KeyFile, err)
	}
	config := &tls.Config{
		MinVersion: c.opts.MinVersion, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"},
		DynamicRecordSizingDisabled: true, // An answer is written at once, and should be one record where it can.
	}
	if c.opts.ClientCAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.opts.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("certificates of clients: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("certificates of clients: %s holds no certificate in PEM", c.opts.ClientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

// use makes a configuration the current one.
func (c *certificates) use(config *tls.Config) {
	c.expires.Store(config.Certificates[0].Leaf.NotAfter.Unix())
	c.warned = time.Time{}
	c.current.Store(config)
	c.remind()
}

// remind warns once a day of a certificate that ends soon, or has ended.
func (c *certificates) remind() {
	now := c.now()
	ends := time.Unix(c.expires.Load(), 0).UTC()
	if left := ends.Sub(now); left > certificateWarning || !c.warned.IsZero() && now.Sub(c.warned) < certificateReminds {
		return
	}
	c.warned = now
	if now.After(ends) {
		c.logger.Error("TLS certificate has expired", "cert_file", c.opts.CertFile, "not_after", ends.Format(time.RFC3339))
		return
	}
	c.logger.Warn("TLS certificate expires soon", "cert_file", c.opts.CertFile, "not_after", ends.Format(time.RFC3339))
}

// secureDoor is a door whose connections speak TLS.
type secureDoor struct {
	*door
	config *tls.Config
}

// Accept returns the next connection. Its handshake is not waited for: a client that takes its time takes only its own.
func (d *secureDoor) Accept() (net.Conn, error) {
	conn, err := d.door.Accept()
	if err != nil {
		return nil, err
	}
	return secure(conn.(*accepted), d.config), nil //nolint:forcetypeassert // A door lets in nothing else.
}
