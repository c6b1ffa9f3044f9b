package process

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Descriptions remembers what binaries have said of themselves, by their checksums, in a folder of its own. A binary that has
// another checksum is described anew; so is every script, because what it says comes from more than its own bytes. A program
// that speaks another protocol describes it anew, too: one cannot keep what it does not know, and the other would miss it.
//
// It is a convenience and never in the way: what cannot be read or is not what was written is described again, and what
// cannot be written is not remembered. The zero value remembers nothing. It is safe for concurrent use, by several
// processes too.
type Descriptions struct {
	// Dir is the folder, made when it is first needed, for its user alone. One that others may write to is not used, because
	// the host believes what is in there.
	Dir string
}

// Bounds on what is remembered.
const (
	maxDescriptions = 256
	// usedAgain is how old a description is before its use is noted, so that the oldest are those that nobody uses.
	usedAgain = 24 * time.Hour
	// abandoned is how old a file is that a writer has left half written.
	abandoned = time.Hour
)

// descriptionSuffix tells a description from what else may be in the folder. It changes with the form of the content.
const descriptionSuffix = ".manifest"

// descriptionProtocol says how much of a manifest whoever wrote a description could read: fields of a later minor are not kept.
var descriptionProtocol = fmt.Sprintf("%d.%d", sdk.ProtocolMajor, sdk.ProtocolMinor)

// Describe is as the function of that name, and runs the binary only if what it says is not known.
func (d Descriptions) Describe(ctx context.Context, path, wantSHA256 string) (sdk.Manifest, error) {
	if d.Dir == "" {
		return Describe(ctx, path, wantSHA256)
	}
	if err := checkBinary(path); err != nil {
		return sdk.Manifest{}, err
	}
	sum, script, err := sumOfBinary(path)
	if err != nil || script || wantSHA256 != "" && sum != wantSHA256 {
		return Describe(ctx, path, wantSHA256) // Which says what is wrong.
	}
	if manifest, ok := d.recall(sum); ok {
		return manifest, nil
	}
	manifest, err := Describe(ctx, path, sum)
	if errors.Is(err, ErrChecksum) { // It was exchanged just now.
		return Describe(ctx, path, wantSHA256)
	}
	if err == nil {
		d.remember(sum, manifest)
	}
	return manifest, err
}

// sumOfBinary returns the checksum of a file, and whether it is a script.
func sumOfBinary(path string) (sum string, script bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = file.Close() }()
	start := make([]byte, 2)
	n, err := io.ReadFull(file, start)
	if err != nil {
		return "", false, err
	}
	hash := sha256.New()
	_, _ = hash.Write(start[:n])
	if _, err := io.Copy(hash, file); err != nil {
		return "", false, err
	}
	return hex.EncodeToString(hash.Sum(nil)), string(start) == "#!", nil
}

// file is where a description is.
func (d Descriptions) file(sum string) string {
	return filepath.Join(d.Dir, sum+"."+descriptionProtocol+descriptionSuffix)
}

// recall returns what the binary of that checksum has said, if that is known and whole.
func (d Descriptions) recall(sum string) (manifest sdk.Manifest, ok bool) {
	if !private(d.Dir) {
		return manifest, false
	}
	file, err := os.Open(d.file(sum))
	if err != nil {
		return manifest, false
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, 2*maxManifest))
	if err != nil {
		return manifest, false
	}
	check, text, _ := bytes.Cut(content, []byte("\n"))
	if string(check) != checkOf(sum, text) || json.Unmarshal(text, &manifest) != nil || manifest.Name == "" {
		return sdk.Manifest{}, false
	}
	if info, err := file.Stat(); err == nil && time.Since(info.ModTime()) > usedAgain {
		now := time.Now()
		_ = os.Chtimes(file.Name(), now, now)
	}
	return manifest, true
}

// checkOf is the first line of a description, by which one is known that is damaged, of another binary or of another protocol.
func checkOf(sum string, text []byte) string {
	check := sha256.Sum256(append([]byte(sum+" "+descriptionProtocol+"\n"), text...))
	return hex.EncodeToString(check[:])
}

// remember keeps a description: whole or not at all.
func (d Descriptions) remember(sum string, manifest sdk.Manifest) {
	text, err := json.Marshal(manifest)
	if err != nil || os.MkdirAll(d.Dir, 0o700) != nil || !private(d.Dir) {
		return
	}
	file, err := os.CreateTemp(d.Dir, "new-*")
	if err != nil {
		return
	}
	_, err = file.Write(slices.Concat([]byte(checkOf(sum, text)), []byte("\n"), text))
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), d.file(sum))
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return
	}
	d.bound()
}

// bound removes the descriptions that were not used for longest, and what was left half written.
func (d Descriptions) bound() {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return
	}
	var kept []fs.FileInfo
	for _, entry := range entries {
		info, err := entry.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case filepath.Ext(entry.Name()) == descriptionSuffix:
			kept = append(kept, info)
		case time.Since(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(d.Dir, entry.Name()))
		}
	}
	if len(kept) <= maxDescriptions {
		return
	}
	slices.SortFunc(kept, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, info := range kept[:len(kept)-maxDescriptions] {
		_ = os.Remove(filepath.Join(d.Dir, info.Name()))
	}
}
