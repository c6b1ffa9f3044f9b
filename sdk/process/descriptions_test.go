package process_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// numbered copies the test binary to where it becomes an island whose version holds the number of its process: who has the
// same version twice has not started it twice. More is appended, which changes the checksum and nothing else.
func numbered(t *testing.T, path, more string) {
	t.Helper()
	program, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", append(program, more...), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// described describes a binary and returns the version, which tells one process from another.
func described(t *testing.T, d process.Descriptions, path string) string {
	t.Helper()
	m, err := d.Describe(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "actor" || len(m.Settings) == 0 || !m.StopFirst || m.Protocol != protocol {
		t.Fatalf("it says %+v", m)
	}
	return m.Version
}

// remembered lists the files in the folder of descriptions.
func remembered(t *testing.T, d process.Descriptions) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestABinaryIsDescribedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbered")
	numbered(t, path, "")
	d := process.Descriptions{Dir: filepath.Join(t.TempDir(), "cache", "manifests")}
	first := described(t, d, path)
	if again := described(t, d, path); again != first {
		t.Errorf("it was started again: %s, then %s", first, again)
	}
	if elsewhere := described(t, process.Descriptions{Dir: d.Dir}, path); elsewhere != first {
		t.Errorf("another program has started it again: %s, then %s", first, elsewhere)
	}
	numbered(t, path, "changed")
	changed := described(t, d, path)
	if changed == first {
		t.Error("a changed binary was not described anew")
	}
	if again := described(t, d, path); again != changed {
		t.Error("a changed binary was described twice")
	}
	files := remembered(t, d)
	if len(files) != 2 {
		t.Errorf("there is %q", files)
	}
	for _, file := range files {
		if suffix := fmt.Sprintf(".%d.%d.manifest", sdk.ProtocolMajor, sdk.ProtocolMinor); !strings.HasSuffix(file, suffix) {
			t.Errorf("%s does not say which protocol its writer spoke, as %s would", file, suffix)
		}
	}
	if one, other := described(t, process.Descriptions{}, path), described(t, process.Descriptions{}, path); one == other {
		t.Error("without a folder something was remembered")
	}
}

// otherProtocol is that of a program before this one, with which it may share a folder.
var otherProtocol = fmt.Sprintf("%d.%d", sdk.ProtocolMajor, sdk.ProtocolMinor-1)

func TestADescriptionThatIsNotWhatWasWrittenIsNotUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbered")
	numbered(t, path, "")
	for name, damage := range map[string]func(t *testing.T, file string, content []byte){
		"empty": func(t *testing.T, file string, _ []byte) {
			t.Helper()
			rewrite(t, file, nil)
		},
		"cut": func(t *testing.T, file string, content []byte) {
			t.Helper()
			rewrite(t, file, content[:len(content)-10])
		},
		"changed": func(t *testing.T, file string, content []byte) {
			t.Helper()
			rewrite(t, file, bytes.ReplaceAll(content, []byte(`"secret":true`), []byte(`"secret":false`)))
		},
		"of another binary": func(t *testing.T, file string, content []byte) {
			t.Helper()
			rewrite(t, file, append([]byte(strings.Repeat("0", 64)), content[64:]...))
		},
		"of a program that could read less": func(t *testing.T, file string, content []byte) {
			t.Helper()
			sum, _, _ := strings.Cut(filepath.Base(file), ".")
			earlier := sha256.Sum256(append([]byte(sum+" "+otherProtocol+"\n"), content[65:]...))
			rewrite(t, file, append([]byte(hex.EncodeToString(earlier[:])), content[64:]...))
		},
		"by the name of such a program": func(t *testing.T, file string, _ []byte) {
			t.Helper()
			sum, _, _ := strings.Cut(filepath.Base(file), ".")
			if err := os.Rename(file, filepath.Join(filepath.Dir(file), sum+"."+otherProtocol+".manifest")); err != nil {
				t.Fatal(err)
			}
		},
		"a folder": func(t *testing.T, file string, _ []byte) {
			t.Helper()
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(file, "inside"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"open to others": func(t *testing.T, file string, _ []byte) {
			t.Helper()
			if err := os.Chmod(filepath.Dir(file), 0o770); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := process.Descriptions{Dir: filepath.Join(t.TempDir(), "manifests")}
			first := described(t, d, path)
			file := remembered(t, d)[0]
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			damage(t, file, content)
			if again := described(t, d, path); again == first {
				t.Error("it was believed")
			}
		})
	}
}

func rewrite(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDescriptionsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbered")
	numbered(t, path, "")
	d := process.Descriptions{Dir: t.TempDir()}
	if err := os.Chmod(d.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	for i := range 400 {
		file := filepath.Join(d.Dir, fmt.Sprintf("%064d.manifest", i))
		rewrite(t, file, []byte("old"))
		if err := os.Chtimes(file, old, old.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	half := filepath.Join(d.Dir, "new-1")
	rewrite(t, half, []byte("half"))
	if err := os.Chtimes(half, old, old); err != nil {
		t.Fatal(err)
	}
	first := described(t, d, path)
	files := remembered(t, d)
	if len(files) != 256 || filepath.Base(files[0]) != fmt.Sprintf("%064d.manifest", 145) {
		t.Errorf("%d files are left, the first is %s", len(files), files[0])
	}
	if described(t, d, path) != first {
		t.Error("the newest was forgotten")
	}
}

func TestWhatIsNotToBeRemembered(t *testing.T) {
	d := process.Descriptions{Dir: filepath.Join(t.TempDir(), "manifests")}
	count := filepath.Join(t.TempDir(), "count")
	for name, tc := range map[string]struct {
		path, sha string
		words     string
	}{
		"fails":            {path: script(t, "exit 3"), words: "describe"},
		"missing":          {path: count, words: "there is no binary"},
		"empty":            {path: interpreterless(t), words: "describe"},
		"another checksum": {path: executable(t), sha: strings.Repeat("0", 64), words: "has the sha256"},
	} {
		if _, err := d.Describe(t.Context(), tc.path, tc.sha); !errors.Is(err, sdk.InvalidArgument) || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a script says comes from other files too.
	said := script(t, `echo '{"name":"scripted","version":"'$$'"}'`)
	one, err := d.Describe(t.Context(), said, "")
	other, again := d.Describe(t.Context(), said, "")
	if err != nil || again != nil || one.Name != "scripted" || one.Version == other.Version {
		t.Errorf("a script says %q, then %q: %v, %v", one.Version, other.Version, err, again)
	}
	if files := remembered(t, d); len(files) > 0 {
		t.Errorf("remembered %q", files)
	}
}

func TestManyRememberAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbered")
	numbered(t, path, "")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	d := process.Descriptions{Dir: filepath.Join(t.TempDir(), "manifests")}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if m, err := d.Describe(t.Context(), path, hex.EncodeToString(sum[:])); err != nil || m.Name != "actor" {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	all.Wait()
	kept, err := d.Describe(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := process.Describe(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	plain.Version = kept.Version
	if diff := cmp.Diff(plain, kept); diff != "" {
		t.Errorf("what is kept differs from what it says:\n%s", diff)
	}
}
