package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"golang.org/x/sync/errgroup"

	"github.com/service-islands/islands/sdk"
)

// islandBlock is what the checks need of an island's block beyond its values.
type islandBlock struct {
	reader
	binary string         // as the file gives it
	config hcl.Attributes // of the config block
	// own and inConfig are all that stands in the island's block and in its config block.
	own, inConfig *hclsyntax.Body
	end           hcl.Range // the config block's line, or the island's
	// described is whether the island's manifest is known.
	described bool
}

var (
	// islandName is what an island may be called: a part of file names, URLs and metric labels.
	islandName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	// hexSum is a SHA-256 in hex.
	hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// variableName is what a variable of the environment may be called.
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// islandSchema is what an island's block consists of.
var islandSchema = with(attributes("layer", "binary", "sha256", "enabled", "env", "confine", "reads", "writes"), "config", "restart", "health", "limits")

// readIslands reads the island blocks: first what every island has, then all manifests at once, then what each
// island's own block says.
func (l *loader) readIslands(blocks hcl.Blocks) {
	for _, block := range blocks {
		name := block.Labels[0]
		switch _, again := l.cfg.Island(name); {
		case again:
			l.problem(block.LabelRanges[0], "Duplicate name", "There is an island %q already. Rename or remove one of the two.", name)
		case !islandName.MatchString(name):
			l.problem(block.LabelRanges[0], "Bad name", "An island has a name such as \"coingecko-source\": at most 63 of lower case, digits and dashes.")
			fallthrough // Its block may have mistakes of its own.
		default:
			l.island(block)
		}
	}
	l.describe()
	for i, b := range l.islands {
		island := &l.cfg.Islands[i]
		l.settings(island, b)
		island.Fingerprint = fingerprint(*island)
	}
}

// island reads what every island has. Of a disabled one it looks at layer and binary alone.
func (l *loader) island(block *hcl.Block) {
	island := Island{
		Name:    block.Labels[0],
		Enabled: true,
		Confine: true,
		Restart: Restart{
			MaxCrashes: 5, Window: 10 * time.Minute, BackoffMin: 250 * time.Millisecond, BackoffMax: 30 * time.Second,
			ResetAfter: time.Minute, ProbeEvery: 5 * time.Minute,
		},
		Health: Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, Misses: 3},
	}
	r := l.read(block, islandSchema)
	b := &islandBlock{reader: r, end: r.at}
	b.own, _ = block.Body.(*hclsyntax.Body)
	if !r.boolean("enabled", &island.Enabled) {
		island.Enabled = false // Whatever it was to be: not started, and looked at no further.
	}
	l.layer(r, &island)
	if _, there := r.content.Attributes["binary"]; !there {
		r.missing("binary", `the path of the program, such as "plugins/cache"`)
	} else if r.text("binary", &b.binary) {
		if b.binary == "" {
			l.problem(r.where("binary"), "Missing binary", "\"binary\" wants the path of a program, such as \"plugins/cache\".")
		} else {
			island.Binary = l.binaryPath(b.binary)
		}
	}
	restart := l.read(r.sub("restart"), attributes("max_crashes", "window", "backoff_min", "backoff_max", "reset_after", "probe_every"))
	restart.whole("max_crashes", &island.Restart.MaxCrashes, 1000)
	restart.duration("window", &island.Restart.Window)
	least := restart.duration("backoff_min", &island.Restart.BackoffMin)
	most := restart.duration("backoff_max", &island.Restart.BackoffMax)
	if least && most && island.Restart.BackoffMin > island.Restart.BackoffMax {
		l.problem(restart.where("backoff_min"), "Out of range", "backoff_min (%s) is at most backoff_max (%s). Set one of them so.",
			island.Restart.BackoffMin, island.Restart.BackoffMax)
	}
	restart.duration("reset_after", &island.Restart.ResetAfter)
	restart.duration("probe_every", &island.Restart.ProbeEvery)

	health := l.read(r.sub("health"), attributes("interval", "timeout", "misses"))
	health.duration("interval", &island.Health.Interval)
	health.duration("timeout", &island.Health.Timeout)
	health.whole("misses", &island.Health.Misses, math.MaxInt32)

	limits := l.read(r.sub("limits"), attributes("memory", "processors", "files", "max_calls"))
	if _, there := limits.content.Attributes["memory"]; there {
		limits.sizeBetween("memory", &island.Limits.Memory, 64<<20, 1<<40)
	}
	limits.whole("processors", &island.Limits.Processors, 1024)
	limits.whole("max_calls", &island.MaxCalls, 10_000)
	limits.whole("files", &island.Limits.Files, 1_000_000)
	if files := island.Limits.Files; files > 0 && files < 64 {
		l.problem(limits.where("files"), "Out of range", "\"files\" is a whole number from 64 to 1000000, not %d.", files)
	}

	r.boolean("confine", &island.Confine)
	island.Reads, island.Writes = l.paths(r, "reads"), l.paths(r, "writes")

	if config := r.sub("config"); config != nil {
		b.inConfig, _ = config.Body.(*hclsyntax.Body)
		attrs, diags := config.Body.JustAttributes()
		l.note(diags)
		b.config, b.end = attrs, config.DefRange
	}
	if island.Enabled {
		l.checksum(r, &island)
		l.environment(r, &island)
	}
	l.cfg.Islands = append(l.cfg.Islands, island)
	l.islands = append(l.islands, b)
}

// layer reads an island's layer.
func (l *loader) layer(r reader, island *Island) {
	names := []string{
		sdk.LayerInfrastructure.String(), sdk.LayerExternalServices.String(), sdk.LayerBusinessLogic.String(),
	}
	if _, there := r.content.Attributes["layer"]; !there {
		r.missing("layer", strings.Join(names[:2], ", ")+" or "+names[2])
		return
	}
	text := ""
	if !r.text("layer", &text) {
		return
	}
	layer, err := sdk.ParseLayer(text)
	switch {
	case layer == sdk.LayerCommunication || layer == sdk.LayerObservability:
		l.problem(r.where("layer"), "Wrong layer", "The layer %s is the host itself. Islands are in %s or %s.",
			text, strings.Join(names[:2], ", "), names[2])
	case err != nil:
		l.problem(r.where("layer"), "Unknown layer", "There is no layer %q.%s", text, suggest(text, "layers", names))
	default:
		island.Layer = layer
	}
}

// binaryPath is where a binary of the file is looked for.
func (l *loader) binaryPath(binary string) string {
	path := filepath.FromSlash(binary)
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.opts.ExecutableDir, path)
	}
	if runtime.GOOS == "windows" && filepath.Ext(path) == "" {
		path += ".exe"
	}
	return path
}

// checksum reads an island's checksum, which a production environment requires.
func (l *loader) checksum(r reader, island *Island) {
	if !r.text("sha256", &island.SHA256) {
		return
	}
	island.SHA256 = strings.ToLower(island.SHA256)
	switch {
	case l.locking:
	case island.SHA256 != "" && !hexSum.MatchString(island.SHA256):
		l.problem(r.where("sha256"), "Bad checksum", "\"sha256\" wants the 64 hex digits that sha256sum prints.")
		island.SHA256 = ""
	case island.SHA256 == "" && l.cfg.Host.Environment == Production:
		is := "what sha256sum prints for it"
		if sum, err := sumOf(island.Binary); err == nil && l.opts.Describe != nil {
			is = sum
		}
		l.problem(r.where("sha256"), "Missing checksum",
			"In production every enabled island has a checksum. If you trust the binary as it is, add: sha256 = %q", is)
	}
}

// sumOf returns the SHA-256 of a file.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// environment reads what is added to an island's environment. Every value may be secret.
func (l *loader) environment(r reader, island *Island) {
	attr, there := r.content.Attributes["env"]
	if !there {
		return
	}
	v, ok := l.evaluate(attr.Expr, true)
	if !ok || v.IsNull() {
		return
	}
	values, err := convert.Convert(v, cty.Map(cty.String))
	if err != nil {
		l.problem(attr.Expr.Range(), "Wrong type", "\"env\" wants names and strings, such as { HTTPS_PROXY = \"http://proxy:3128\" }.")
		return
	}
	island.Env = map[string]string{}
	for name, value := range values.AsValueMap() {
		switch {
		case !variableName.MatchString(name):
			l.problem(attr.Expr.Range(), "Bad name", "A name in \"env\" consists of letters, digits and underscores.")
		case value.IsNull():
		case strings.ContainsRune(value.AsString(), 0):
			l.problem(attr.Expr.Range(), "Bad value", "The value of %s in \"env\" holds a zero byte.", name)
		default:
			island.Env[name] = value.AsString()
			l.keepSecret(value.AsString())
		}
	}
}

// describe fetches the manifests of all enabled islands, a few at once, and notes what is wrong with them.
func (l *loader) describe() {
	if l.opts.Describe == nil {
		return
	}
	const atOnce = 4
	errs := make([]error, len(l.islands))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, b := range l.islands {
		island := &l.cfg.Islands[i]
		if !island.Enabled || island.Binary == "" || !l.runnable(b, *island) {
			continue
		}
		b.described = true
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), l.opts.DescribeTimeout)
			defer cancel()
			island.Manifest, errs[i] = l.opts.Describe(ctx, island.Binary, island.SHA256)
			return nil // Each island's error is told beside its block.
		})
	}
	_ = group.Wait()
	for i, b := range l.islands {
		if b.described {
			b.described = l.acceptable(&l.cfg.Islands[i], b, errs[i])
		}
	}
}

// runnable notes a binary that is not there or no program.
func (l *loader) runnable(b *islandBlock, island Island) bool {
	info, err := os.Stat(island.Binary)
	switch {
	case err != nil:
		l.problem(b.where("binary"), "Missing binary",
			"There is no program %s. A relative path is relative to the folder of the islands executable. Build it (make build), correct the path, or set enabled = false.", island.Binary)
	case !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode().Perm()&0o111 == 0:
		l.problem(b.where("binary"), "Missing binary", "%s is not a program: it is no file that may be executed.", island.Binary)
	default:
		return true
	}
	return false
}

// acceptable notes a manifest that could not be had or does not go with the block.
func (l *loader) acceptable(island *Island, b *islandBlock, err error) bool {
	m := island.Manifest
	if err != nil {
		island.Manifest = sdk.Manifest{}
		if sum, sumErr := sumOf(island.Binary); island.SHA256 != "" && sumErr == nil && sum != island.SHA256 {
			l.problem(b.where("sha256"), "Checksum mismatch",
				"%s has the SHA-256 %s. If you have just built or updated it, write that; otherwise somebody else has changed it.", island.Binary, sum)
			return false
		}
		l.problem(b.where("binary"), "Not an island",
			"%s does not say what it is: %.500s. Try \"%s describe\".", island.Binary, err.Error(), b.binary)
		return false
	}
	if err := m.Protocol.Check(sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}); err != nil {
		l.problem(b.where("binary"), "Wrong protocol", "%s does not go with this host: %v.", b.binary, err)
		return false
	}
	if island.Layer != 0 && m.Layer != island.Layer {
		l.problem(b.where("layer"), "Wrong layer", "%s says that it belongs to the layer %s. Write: layer = %q", b.binary, m.Layer, m.Layer)
	}
	return true
}

// fingerprint is a hash of what makes an island's process what it is.
func fingerprint(i Island) string {
	text, err := json.Marshal([]any{i.Layer, i.Binary, i.SHA256, i.Enabled, i.Env, i.Settings, i.Limits, i.Confine, i.Reads, i.Writes})
	if err != nil { // Not for values that plain returned.
		text = fmt.Appendf(nil, "%v %v %v %v %v %v %v %v %v %v", uint8(i.Layer), i.Binary, i.SHA256, i.Enabled, i.Env, i.Settings, i.Limits,
			i.Confine, i.Reads, i.Writes)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
