package main

import (
	"crypto/tls"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/host/internal/gateway"
)

// edgeOptions tells the gateway who connects, how, and how often.
func (h *host) edgeOptions(opts *gateway.Options) {
	cfg := h.config().Host
	opts.TrustedProxies, opts.Forwarded = cfg.TrustedProxies, cfg.ForwardedHeader == config.Forwarded
	opts.MaxConnections, opts.MaxConnectionsPerAddress = cfg.Limits.MaxConnections, cfg.Limits.MaxConnectionsPerAddress
	opts.RefusePeer = h.peerRefusal()
	if r := cfg.RateLimit; r != nil {
		opts.RateLimit = &gateway.RateLimit{Requests: r.Requests, Per: r.Per, Burst: r.Burst}
	}
	if t := cfg.TLS; t != nil {
		versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
		opts.TLS = &gateway.TLS{
			CertFile: t.CertFile, KeyFile: t.KeyFile, ClientCAFile: t.ClientCAFile, MinVersion: versions[t.MinVersion], HSTS: t.HSTS,
		}
	}
}
