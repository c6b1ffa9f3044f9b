package config

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sums are what the binaries of these tests have.
func sums(binary string) (string, error) {
	switch binary {
	case "/bin/a":
		return strings.Repeat("a", 64), nil
	case "/bin/b":
		return strings.Repeat("b", 64), nil
	default:
		return "", errors.New("there is no binary " + binary)
	}
}

func TestLock(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for name, tc := range map[string]struct {
		src, want string
		written   []string
	}{
		"none yet, beside its neighbours and comments": {
			src: "# The first.\nisland \"a\" {\n  layer   = \"infrastructure\" # where\n  binary  = \"/bin/a\" # what\n  enabled = true\n\n  config {}\n}\n",
			want: "# The first.\nisland \"a\" {\n  layer   = \"infrastructure\" # where\n  binary  = \"/bin/a\" # what\n  sha256  = \"" + a +
				"\"\n  enabled = true\n\n  config {}\n}\n",
			written: []string{""},
		},
		"another one, in production": {
			src:     "host { environment = \"production\" }\nisland \"b\" {\n\tsha256=\"" + a + "\" // old\n\tbinary=\"/bin/b\"\n\tlayer=\"infrastructure\"\n}",
			want:    "host { environment = \"production\" }\nisland \"b\" {\n\tsha256=\"" + b + "\" // old\n\tbinary=\"/bin/b\"\n\tlayer=\"infrastructure\"\n}",
			written: []string{a},
		},
		"one that is no checksum": {
			src:     "island \"b\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/b\"\n  sha256 = \"later\"\n}\n",
			want:    "island \"b\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/b\"\n  sha256 = \"" + b + "\"\n}\n",
			written: []string{"later"},
		},
		"null": {
			src:     "island \"b\" {\n  layer  = \"infrastructure\"\n  sha256 = null\n  binary = \"/bin/b\"\n}\n",
			want:    "island \"b\" {\n  layer  = \"infrastructure\"\n  sha256 = \"" + b + "\"\n  binary = \"/bin/b\"\n}\n",
			written: []string{""},
		},
		"right already, in capitals, and from the environment": {
			src: "island \"a\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/a\"\n  sha256 = \"" + strings.ToUpper(a) + "\"\n}\n" +
				"island \"b\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/b\"\n  sha256 = env(\"B_SUM\")\n}\n",
			written: []string{a, b},
		},
		"lines as another system ends them": {
			src:     "island \"a\" {\r\n  binary = \"/bin/a\"\r\n  layer = \"infrastructure\"\r\n}\r\n",
			want:    "island \"a\" {\r\n  binary = \"/bin/a\"\r\n  sha256 = \"" + a + "\"\r\n  layer = \"infrastructure\"\r\n}\r\n",
			written: []string{""},
		},
		"a disabled island, which need not be there": {
			src: "island \"c\" {\n  layer   = \"infrastructure\"\n  binary  = \"/bin/c\"\n  enabled = false\n}\n",
		},
		"no island": {src: "host {}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.want == "" {
				tc.want = tc.src
			}
			opts := Options{Env: lookup(map[string]string{"B_SUM": b}), ExecutableDir: "/"}
			got, sums, err := Lock([]byte(tc.src), "islands.hcl", opts, sums)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("the file (-want +got):\n%s", diff)
			}
			var written []string
			for _, s := range sums {
				written = append(written, s.Written)
			}
			if diff := cmp.Diff(tc.written, written); diff != "" {
				t.Errorf("what the file said (-want +got):\n%s", diff)
			}
			cfg, err := Parse(got, "islands.hcl", opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range sums {
				if island, _ := cfg.Island(s.Island); island.SHA256 != s.SHA256 {
					t.Errorf("%s has %q, not %q", s.Island, island.SHA256, s.SHA256)
				}
			}
		})
	}
}

func TestLockRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ src, want string }{
		"a file with mistakes": {"island \"a\" {\n  binary = \"/bin/a\"\n}\n", `"layer" is required here`},
		"no HCL":               {"island {", "islands.hcl line 1"},
		"a binary that is not there": {
			"island \"c\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/c\"\n}\n", "there is no binary /bin/c",
		},
		"a checksum from elsewhere": {
			"island \"a\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/a\"\n  sha256 = env(\"A_SUM\", \"\")\n}\n", "change what it refers to",
		},
		"a heredoc": {
			"island \"a\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/a\"\n  sha256 = <<E\nold\nE\n}\n", "change what it refers to",
		},
		"a comment of several lines": {
			"island \"a\" {\n  layer  = \"infrastructure\"\n  binary = \"/bin/a\" /* where\n  it is */\n}\n", "sha256 = ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Lock([]byte(tc.src), "islands.hcl", Options{Env: lookup(nil), ExecutableDir: "/"}, sums)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// The shipped file is changed by lines alone, and is changed no more when it is locked again.
func TestLockOfTheShippedFile(t *testing.T) {
	src, err := os.ReadFile("../islands.hcl")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Env: lookup(nil), ExecutableDir: "/"}
	sum := func(string) (string, error) { return strings.Repeat("a", 64), nil }
	locked, sums, err := Lock(src, "islands.hcl", opts, sum)
	if err != nil {
		t.Fatal(err)
	}
	var rest []byte
	for line := range bytes.Lines(locked) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("sha256")) {
			rest = append(rest, line...)
		}
	}
	if !bytes.Equal(rest, src) || bytes.Count(locked, []byte("\n"))-bytes.Count(src, []byte("\n")) != len(sums) || len(sums) < 4 {
		t.Errorf("%d checksums:\n%s", len(sums), cmp.Diff(string(src), string(locked)))
	}
	again, _, err := Lock(locked, "islands.hcl", opts, sum)
	if err != nil || !bytes.Equal(again, locked) {
		t.Errorf("again: %v\n%s", err, cmp.Diff(string(locked), string(again)))
	}
}

// Whatever is locked once is a configuration with those checksums, and locking it again changes nothing.
func FuzzLock(f *testing.F) {
	shipped, err := os.ReadFile("../islands.hcl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(shipped))
	for _, rest := range []string{"", "sha256 = null", "sha256 = \"x\"", "sha256 = \"${1}\"", "# }", "sha256 = <<E\nx\nE"} {
		f.Add("island \"a\" {\n layer = \"infrastructure\"\n binary /* ? */ = \"a\" # b\n " + rest + "\n}\n")
		f.Add("island \"a\" {\r\n" + rest + "\r\nbinary=\"a\" /*\n*/\r\nlayer=\"infrastructure\"\r\n}")
	}
	f.Fuzz(func(t *testing.T, text string) {
		opts := Options{Env: lookup(nil), ExecutableDir: "/"}
		sum := func(string) (string, error) { return strings.Repeat("a", 64), nil }
		locked, sums, err := Lock([]byte(text), "islands.hcl", opts, sum)
		if err != nil {
			return
		}
		cfg, err := Parse(locked, "islands.hcl", opts)
		if err != nil {
			t.Fatalf("it is no configuration any more: %v\n%s", err, locked)
		}
		for _, s := range sums {
			if island, _ := cfg.Island(s.Island); island.SHA256 != s.SHA256 {
				t.Fatalf("%s has %q\n%s", s.Island, island.SHA256, locked)
			}
		}
		if again, _, err := Lock(locked, "islands.hcl", opts, sum); err != nil || !bytes.Equal(again, locked) {
			t.Fatalf("again: %v\n%s\n%s", err, locked, again)
		}
	})
}
