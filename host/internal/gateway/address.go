package gateway

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"github.com/valyala/fasthttp"
)

// addressOf returns the IP address of a peer, the zero address when it has none.
func addressOf(peer net.Addr) netip.Addr {
	if tcp, ok := peer.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// proxies are the peers that are believed about whom they speak for, and the header field in which they say so.
type proxies struct {
	trusted []netip.Prefix
	field   []byte // in canonical form
	// last takes the last element off a list of hops, and says whether it names an address.
	last func(list []byte) (rest []byte, hop netip.Addr, ok bool)
}

// The fields that may name a client behind a proxy, as fasthttp writes them.
var (
	nameXForwardedFor = []byte("X-Forwarded-For")
	nameForwarded     = []byte("Forwarded")
)

func newProxies(trusted []netip.Prefix, forwarded bool) *proxies {
	p := &proxies{trusted: trusted, field: nameXForwardedFor, last: lastForwardedFor}
	if forwarded {
		p.field, p.last = nameForwarded, lastForwarded
	}
	return p
}

// maxHops bounds how many proxies in a row are looked at.
const maxHops = 32

// client returns the address of whoever made a request: the peer, or, when that is a trusted proxy, the nearest in its list
// that is none. Each proxy adds at the end whom it was asked by, so that what stands before the first that is not trusted
// may be anybody's invention, and is not looked at; nor is what stands before something that is no address. The
// last that could be read is then the client.
func (p *proxies) client(rctx *fasthttp.RequestCtx) netip.Addr {
	from := addressOf(rctx.RemoteAddr())
	if len(p.trusted) == 0 || !p.trusts(from) {
		return from
	}
	fields := rctx.Request.Header.PeekAll(text(p.field))
	hops := 0
	for i := len(fields) - 1; i >= 0; i-- {
		for list := fields[i]; len(bytes.TrimSpace(list)) > 0; {
			rest, hop, ok := p.last(list)
			if hops++; !ok || hops > maxHops {
				return from
			}
			if from, list = hop, rest; !p.trusts(from) {
				return from
			}
		}
	}
	return from
}

func (p *proxies) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(network netip.Prefix) bool { return network.Contains(address) })
}

// lastForwardedFor takes the last element off an X-Forwarded-For list.
func lastForwardedFor(list []byte) (rest []byte, hop netip.Addr, ok bool) {
	if i := bytes.LastIndexByte(list, ','); i >= 0 {
		rest, list = list[:i], list[i+1:]
	}
	hop, ok = parseHop(bytes.TrimSpace(list))
	return rest, hop, ok
}

// lastForwarded takes the last element off a Forwarded list (RFC 7239). It is read from its end, because the end was
// written by a proxy: no quotation mark that a client left open can swallow it. An element with an escape is not read.
func lastForwarded(list []byte) (rest []byte, hop netip.Addr, ok bool) {
	quoted, start := false, 0
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == '"' {
			quoted = !quoted
		} else if list[i] == ',' && !quoted {
			rest, start = list[:i], i+1
			break
		}
	}
	element := list[start:]
	if bytes.IndexByte(element, '\\') >= 0 {
		return rest, netip.Addr{}, false
	}
	for len(element) > 0 {
		var pair []byte
		pair, element = cutPair(element)
		name, value, found := bytes.Cut(pair, []byte("="))
		if !found || !bytes.EqualFold(bytes.TrimSpace(name), []byte("for")) {
			continue
		}
		if ok {
			return rest, netip.Addr{}, false // Twice: nobody knows which one is meant.
		}
		value = bytes.TrimSpace(value)
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if hop, ok = parseHop(value); !ok {
			return rest, netip.Addr{}, false
		}
	}
	return rest, hop, ok
}

// cutPair takes the first pair off an element, which ends at a semicolon outside of quotation marks.
func cutPair(element []byte) (pair, rest []byte) {
	quoted := false
	for i, c := range element {
		if c == '"' {
			quoted = !quoted
		} else if c == ';' && !quoted {
			return element[:i], element[i+1:]
		}
	}
	return element, nil
}

// longestHop is an IPv6 address in brackets with a port.
const longestHop = len("[xxxx:xxxx:xxxx:xxxx:xxxx:xxxx:255.255.255.255]:65535")

// parseHop reads an address, which may have a port: 192.0.2.7, 192.0.2.7:80, 2001:db8::7, [2001:db8::7], [2001:db8::7]:80.
// What proxies write for an address that they do not tell, such as unknown and _hidden, is none.
func parseHop(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > longestHop {
		return netip.Addr{}, false
	}
	bracketed := b[0] == '['
	switch {
	case bracketed:
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isPort(b[end+1:]) {
			return netip.Addr{}, false
		}
		b = b[1:end]
	case bytes.Count(b, []byte(":")) == 1:
		i := bytes.IndexByte(b, ':')
		if !isPort(b[i:]) {
			return netip.Addr{}, false
		}
		b = b[:i]
	}
	address, err := netip.ParseAddr(text(b))
	if err != nil || address.Zone() != "" || bracketed && !address.Is6() {
		return netip.Addr{}, false
	}
	return address.Unmap(), true
}

// isPort reports whether what follows an address is nothing, or a colon and up to five digits.
func isPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) < 2 || len(b) > 6 {
		return false
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
