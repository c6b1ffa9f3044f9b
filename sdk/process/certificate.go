package process

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// envClientCert is where go-plugin's servers look for the certificate of their one client.
const envClientCert = "PLUGIN_CLIENT_CERT"

// certificateLife is longer than any host runs.
const certificateLife = 10 * 365 * 24 * time.Hour

// oneTimeCertificate makes what go-plugin's AutoMTLS would make for the host's side of one connection, the configuration and
// the certificate in PEM, with a key on P-256. That of AutoMTLS is on P-521, which BoringSSL refuses, and with it the gRPC of
// Python, C++, Ruby and PHP as their package registries have it. It also takes a few milliseconds less.
func oneTimeCertificate() (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, nil, err
	}
	const name = "localhost" // What go-plugin's servers and clients expect each other to be.
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Service Islands"}}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(certificateLife),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12, ServerName: name,
		// Without a certificate from the island nothing is trusted, rather than what the system trusts.
		RootCAs: x509.NewCertPool(),
	}
	return config, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
