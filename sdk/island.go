package sdk

import (
	"context"
	"fmt"
	"slices"
)

// IslandComponent is the life every island leads.
//
// The host calls Initialize exactly once and before anything else. Health and Metrics may be called at any time after
// it, concurrently with each other and with every role method. Shutdown is called once in-flight work has drained; it
// is safe before Initialize and safe twice. The context of each call covers that call alone: what an island starts in
// Initialize must outlive its context and end in Shutdown.
type IslandComponent interface {
	// Initialize makes the island ready to answer. An error of kind InvalidArgument means that the settings are wrong
	// and that trying again is pointless. A peer that cannot be reached yet is not an error: report it through Health.
	Initialize(ctx context.Context, cfg Config) error
	// Health says how the island is, without doing new work for it and within two seconds.
	Health(ctx context.Context) Health
	// Metrics returns everything the island counts, as it stands now.
	Metrics(ctx context.Context) (Metrics, error)
	// Shutdown releases what the island holds. The context bounds the time it may take.
	Shutdown(ctx context.Context) error
}

// Layer is a position in the flow, counted from the bottom.
type Layer uint8

// The five layers. Islands live in layers 1, 2 and 5; layers 3 and 4 are the host itself.
const (
	LayerInfrastructure   Layer = 1 // remember: caches and stores
	LayerExternalServices Layer = 2 // fetch: the only code that leaves the machine
	LayerCommunication    Layer = 3 // connect: the host's pipelines and gateway
	LayerObservability    Layer = 4 // watch: the host's own eyes
	LayerBusinessLogic    Layer = 5 // mean something: reports
)

// layerNames holds the name of each layer as islands.hcl writes it.
var layerNames = map[Layer]string{
	LayerInfrastructure:   "infrastructure",
	LayerExternalServices: "external_services",
	LayerCommunication:    "communication",
	LayerObservability:    "observability",
	LayerBusinessLogic:    "business_logic",
}

// String returns the layer's name as islands.hcl writes it.
func (l Layer) String() string {
	if name, ok := layerNames[l]; ok {
		return name
	}
	return fmt.Sprintf("layer(%d)", uint8(l))
}

// ParseLayer returns the layer of that name, or an InvalidArgument error that lists the names there are.
func ParseLayer(name string) (Layer, error) {
	for l := LayerInfrastructure; l <= LayerBusinessLogic; l++ {
		if layerNames[l] == name {
			return l, nil
		}
	}
	return 0, Errorf(InvalidArgument, "no layer %q; the layers of islands are infrastructure, external_services and business_logic", name)
}

// MarshalText writes the layer's name.
func (l Layer) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the layer's name.
func (l *Layer) UnmarshalText(text []byte) error {
	parsed, err := ParseLayer(string(text))
	*l = parsed
	return err
}

// Role names something an island can do beyond living. An island has a role when its component implements the
// interface of that role.
type Role string

// The roles there are. The list only ever grows.
const (
	RoleQuotes      Role = "quotes"      // QuoteSource
	RoleCandles     Role = "candles"     // CandleSource
	RoleGlobal      Role = "global"      // GlobalSource
	RoleSentiment   Role = "sentiment"   // SentimentSource
	RoleCatalogue   Role = "catalogue"   // CatalogueSource
	RoleStream      Role = "stream"      // StreamSource
	RoleCache       Role = "cache"       // Cache
	RoleCoordinator Role = "coordinator" // Coordinator
	RoleStore       Role = "store"       // Store
	RoleReporter    Role = "reporter"    // Reporter
)

// RolesOf lists the roles that a component implements, in the order of the constants. It looks at the concrete
// component, so it is of use in the island's own process only; the host reads Manifest.Roles.
func RolesOf(island IslandComponent) []Role {
	var roles []Role
	add := func(role Role, ok bool) {
		if ok {
			roles = append(roles, role)
		}
	}
	_, ok := island.(QuoteSource)
	add(RoleQuotes, ok)
	_, ok = island.(CandleSource)
	add(RoleCandles, ok)
	_, ok = island.(GlobalSource)
	add(RoleGlobal, ok)
	_, ok = island.(SentimentSource)
	add(RoleSentiment, ok)
	_, ok = island.(CatalogueSource)
	add(RoleCatalogue, ok)
	_, ok = island.(StreamSource)
	add(RoleStream, ok)
	_, ok = island.(Cache)
	add(RoleCache, ok)
	_, ok = island.(Coordinator)
	add(RoleCoordinator, ok)
	_, ok = island.(Store)
	add(RoleStore, ok)
	_, ok = island.(Reporter)
	add(RoleReporter, ok)
	return roles
}

// Protocol versions of this SDK. The major is also the version of the protobuf package and of go-plugin's handshake;
// minors only ever add; the package's documentation lists what each one added, under Versions.
const (
	ProtocolMajor = 1
	ProtocolMinor = 2
)

// Manifest says what an island is, before anything of it runs. Authors fill in Name, Version, Layer, Description and
// Settings; process.Serve completes Protocol, Roles and Reports from the component itself.
type Manifest struct {
	// Name of the kind of island, lower case with dashes, such as "coingecko-source".
	Name string `json:"name"`
	// Version of the island, semantic, such as "1.2.0".
	Version string `json:"version"`
	// Layer the island belongs in.
	Layer Layer `json:"layer"`
	// Description in one sentence.
	Description string `json:"description"`
	// Protocol that the island's SDK speaks.
	Protocol Protocol `json:"protocol"`
	// Roles that the component implements.
	Roles []Role `json:"roles"`
	// Settings that the island's config block may hold.
	Settings []Setting `json:"settings"`
	// Reports that a reporter can make, with what each needs.
	Reports []ReportSpec `json:"reports,omitempty"`
	// StopFirst is whether two processes of the island must not be at work at once, such as on one database file. The host
	// then ends the old one before it initializes the new one, where it otherwise does so after.
	StopFirst bool `json:"stop_first,omitempty"`
}

// Protocol is a version of the contract.
type Protocol struct {
	// Major is that of the handshake: both sides have the same one, or do not talk at all.
	Major int `json:"major"`
	// Minor counts what was added within the major, from 0.
	Minor int `json:"minor"`
}

// String returns the version as "1.2".
func (p Protocol) String() string { return fmt.Sprintf("%d.%d", p.Major, p.Minor) }

// Common returns what two sides of the same major both know: the lower minor of the two.
func (p Protocol) Common(other Protocol) Protocol {
	return Protocol{Major: p.Major, Minor: min(p.Minor, other.Minor)}
}

// Check reports whether an island that speaks p can live under a host that speaks host. Minors never matter. The
// InvalidArgument error for another major says which of the two is behind, and how to upgrade it.
func (p Protocol) Check(host Protocol) error {
	switch {
	case p.Major == host.Major:
		return nil
	case p.Major > host.Major:
		return Errorf(InvalidArgument, "it speaks protocol %d and this host protocol %d: upgrade the host to one that speaks "+
			"protocol %[1]d, or use a release of the island that was built for protocol %[2]d", p.Major, host.Major)
	default:
		return Errorf(InvalidArgument, "it speaks protocol %d and this host protocol %d: upgrade the island to a release for protocol "+
			"%[2]d, or build it anew with the SDK of this host (in Go: go get %[3]s at the version that \"islands version\" prints; "+
			"in other languages: stubs from sdk/proto/islands/v%[2]d)", p.Major, host.Major, modulePath)
	}
}

// modulePath is what authors require in their go.mod.
const modulePath = "github.com/service-islands/islands"

// Has reports whether the island offers a role.
func (m Manifest) Has(role Role) bool { return slices.Contains(m.Roles, role) }

// Setting returns the declared setting of that name.
func (m Manifest) Setting(name string) (Setting, bool) {
	for _, s := range m.Settings {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}

// SettingNames lists the names of the settings, in their order.
func (m Manifest) SettingNames() []string {
	names := make([]string, len(m.Settings))
	for i, s := range m.Settings {
		names[i] = s.Name
	}
	return names
}

// Complete returns the manifest with everything that follows from the component filled in.
func (m Manifest) Complete(island IslandComponent) Manifest {
	m.Protocol = Protocol{Major: ProtocolMajor, Minor: ProtocolMinor}
	m.Roles = RolesOf(island)
	if reporter, ok := island.(Reporter); ok {
		m.Reports = reporter.Reports()
	}
	return m
}
