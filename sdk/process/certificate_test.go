package process_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/service-islands/islands/sdk/process"
)

// TestCertificateIsOneThatEverybodyTakes looks at what the host shows an island: BoringSSL, which is in most gRPC libraries,
// refuses certificates on P-521, as go-plugin would make them.
func TestCertificateIsOneThatEverybodyTakes(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "")
	env, err := ask(t, p, "env")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(env, "\nPLUGIN_CLIENT_CERT=")
	block, _ := pem.Decode([]byte(text))
	if !found || block == nil {
		t.Fatalf("no certificate in the environment: %s", env)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("a certificate with a key of %T", cert.PublicKey)
	}
}
