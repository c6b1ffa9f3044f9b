package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// The header fields that may name a client behind a proxy.
const (
	XForwardedFor = "x-forwarded-for"
	Forwarded     = "forwarded"
)

// edge reads what the host is told of those who connect to it: by which proxies, over TLS, and how often.
func (l *loader) edge(r reader, h *Host) {
	h.ForwardedHeader = XForwardedFor
	l.trustedProxies(r, h)
	r.oneOf("forwarded_header", &h.ForwardedHeader, XForwardedFor, Forwarded)
	if block := r.sub("tls"); block != nil {
		h.TLS = l.tls(block)
	}
	if block := r.sub("rate_limit"); block != nil {
		h.RateLimit = l.rateLimit(block)
	}
}

// trustedProxies reads which peers are believed about whom they speak for.
func (l *loader) trustedProxies(r reader, h *Host) {
	listed, _ := r.names("trusted_proxies")
	for _, n := range listed {
		network, ok := network(n.text)
		switch {
		case !ok:
			l.problem(n.at, "Bad network",
				"%.60q is neither an address nor a network: those are written such as \"10.0.0.0/8\", \"192.0.2.7\" and \"2001:db8::/32\".",
				n.text)
		case network.Bits() == 0:
			l.problem(n.at, "Bad network",
				"%q is everybody: then any client could say who it is. List the networks that the proxies are in.", n.text)
		case !slices.Contains(h.TrustedProxies, network):
			h.TrustedProxies = append(h.TrustedProxies, network)
		}
	}
}

// network reads an address, or a network in CIDR notation. Bits that a network leaves open may be anything.
func network(text string) (netip.Prefix, bool) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, false
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return prefix.Masked(), true
}

// tls reads the tls block. Files are looked at only where binaries are: for a host that is to run.
func (l *loader) tls(block *hcl.Block) *TLS {
	t := &TLS{MinVersion: "1.2"}
	r := l.read(block, attributes("cert_file", "key_file", "min_version", "client_ca_file", "hsts"))
	whole := true
	for _, file := range []struct {
		name, what string
		into       *string
	}{
		{"cert_file", "the certificate and those between it and its issuer, in PEM", &t.CertFile},
		{"key_file", "the private key of the certificate, in PEM", &t.KeyFile},
	} {
		switch _, present, ok := r.value(file.name); {
		case ok && !present:
			r.missing(file.name, file.what)
			whole = false
		case !ok || !r.text(file.name, file.into) || !l.filePath(r, file.name, *file.into):
			whole = false
		}
	}
	r.oneOf("min_version", &t.MinVersion, "1.2", "1.3")
	r.duration("hsts", &t.HSTS)
	authorities := r.text("client_ca_file", &t.ClientCAFile) && r.given("client_ca_file") &&
		l.filePath(r, "client_ca_file", t.ClientCAFile)
	if l.opts.Describe == nil {
		return t
	}
	if whole {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			l.problem(r.where("cert_file"), "Bad certificate", "cert_file %q and key_file %q cannot be used: %s.", t.CertFile, t.KeyFile, err)
		}
	}
	if authorities {
		text, err := os.ReadFile(t.ClientCAFile)
		switch {
		case err != nil:
			l.problem(r.where("client_ca_file"), "Bad certificate", "client_ca_file %q cannot be read: %s.", t.ClientCAFile, err)
		case !x509.NewCertPool().AppendCertsFromPEM(text):
			l.problem(r.where("client_ca_file"), "Bad certificate", "client_ca_file %q holds no certificate in PEM.", t.ClientCAFile)
		}
	}
	return t
}

// filePath notes a path that cannot be one.
func (l *loader) filePath(r reader, name, path string) bool {
	if path == "" || strings.ContainsRune(path, 0) {
		l.problem(r.where(name), "Bad file", "%q wants the path of a file, not %q.", name, path)
		return false
	}
	return true
}

// rateLimit reads the rate_limit block.
func (l *loader) rateLimit(block *hcl.Block) *RateLimit {
	limit := &RateLimit{Per: time.Second}
	r := l.read(block, attributes("requests", "per", "burst"))
	const most = 1_000_000
	if _, present, ok := r.value("requests"); ok && !present {
		r.missing("requests", `how many requests a client may make in each "per"`)
	}
	r.whole("requests", &limit.Requests, most)
	if r.duration("per", &limit.Per) && limit.Per > 24*time.Hour {
		l.problem(r.where("per"), "Bad duration", "%q is at most a day, not %s.", "per", limit.Per)
	}
	limit.Burst = limit.Requests
	r.whole("burst", &limit.Burst, most)
	return limit
}

// connections settles how many connections there may be, once it is known how many clients the live feed may have: they
// and the requests beside them have to fit.
func (l *loader) connections(block *hcl.Block) {
	const most, beside = 2_000_000, 4_096
	clients, limits := l.cfg.Broadcast.Clients, &l.cfg.Host.Limits
	var total, each int // Nothing: not set, or not well.
	r := reader{l: l, content: &hcl.BodyContent{}, at: l.start()}
	if block != nil {
		// What else stands in the block was noted when it was first read.
		content, _, _ := block.Body.PartialContent(attributes("max_connections", "max_connections_per_address"))
		r.content, r.at = content, block.DefRange
	}
	r.whole("max_connections", &total, most)
	r.whole("max_connections_per_address", &each, most)
	if total > 0 && each > total {
		r.above("max_connections_per_address", each, "max_connections", total)
	}
	limits.MaxConnections = cmp.Or(total, max(32_768, clients.MaxConnections+beside))
	limits.MaxConnectionsPerAddress = min(cmp.Or(each, max(limits.MaxConnections/2, clients.MaxPerAddress+beside)), limits.MaxConnections)
}
