# What one does with this repository; `make help` lists it. Nothing but Go is needed to build and to try it.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

GO       ?= go
FUZZTIME ?= 10s
PACKAGES ?= ./...
BENCH    ?=
CROSS    ?= darwin/arm64 windows/amd64

# The examples that are built beside the host, and those that are islands: modules of their own, as one in any other repository
# is, so that `./...` does not reach them.
EXAMPLES        ?= ./examples/marketsim ./examples/demo ./examples/watch
EXAMPLE_ISLANDS ?= $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
# Those that a target goes to besides PACKAGES: all of them, or none where only some packages are asked for.
MODULES          = $(if $(filter ./...,$(PACKAGES)),$(EXAMPLE_ISLANDS))

# No cgo: the binaries run on any Linux. No revision is stamped into them, so that a commit alone rebuilds nothing and an
# unpacked archive builds as a clone does.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w'

TOOLS := golangci-lint gofumpt gotestsum buf govulncheck dlv
TOOL  := .tools/bin

# The folders of the tree that hold Go.
SOURCES := config examples host plugins sdk

##@ Use

.PHONY: build
build: ## Build everything into bin/
	mkdir -p bin/plugins
	$(BUILD) -o bin/islands ./host
	$(BUILD) -o bin/ $(EXAMPLES)
	$(BUILD) -o bin/plugins/ ./plugins/...
	for module in $(EXAMPLE_ISLANDS); do (cd "$$module" && $(BUILD) -o $(CURDIR)/bin/plugins/ .); done

.PHONY: python-source
python-source: ## Pack the island in Python into bin/plugins/; to run it takes python3-grpcio and openssl
	examples/python-source/build

.PHONY: node-source
node-source: ## Pack the island in JavaScript into bin/plugins/, which takes Node and npm; to run it takes Node and openssl
	examples/node-source/build

.PHONY: demo
demo: build ## Run the shipped islands.hcl against a simulated market, without network or servers
	@bin/demo

.PHONY: run
run: build ## Run the shipped islands.hcl against the live services
	@bin/islands run --config islands.hcl

.PHONY: validate
validate: build ## Check islands.hcl, and those of the examples, against the islands' own manifests
	for file in islands.hcl $(wildcard examples/*/islands.hcl); do bin/islands validate "$$file"; done

##@ Test

.PHONY: test
test: test-deps build $(TOOL)/gotestsum $(TOOL)/dlv ## Run every test with the race detector, real Redis and Postgres included
	$(TOOL)/gotestsum --format standard-quiet --format-hide-empty-pkg -- -race -timeout 12m -p 2 $(TESTFLAGS) $(PACKAGES)
	for module in $(MODULES); do
		(cd "$$module" && $(CURDIR)/$(TOOL)/gotestsum --format standard-quiet --format-hide-empty-pkg -- -race -timeout 12m -p 2 $(TESTFLAGS) ./...)
	done

.PHONY: test-deps
test-deps: ## Install the servers and the C compiler that the tests need (Debian, as root), or say how
	@missing=()
	command -v redis-server >/dev/null || missing+=(redis-server)
	command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
	command -v "$$($(GO) env CC)" >/dev/null || missing+=(gcc libc6-dev) # The race detector links with C.
	command -v curl >/dev/null || missing+=(curl) # The README uses it.
	command -v python3 >/dev/null || missing+=(python3) # One of the example clients is written in it.
	/usr/bin/python3 -c 'import grpc' 2>/dev/null || missing+=(python3 python3-grpcio) # As one of the example islands.
	command -v node >/dev/null && command -v npm >/dev/null || missing+=(nodejs npm) # As another.
	command -v openssl >/dev/null || missing+=(openssl)
	[[ $${#missing[@]} -gt 0 ]] || exit 0
	if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
		echo "the tests need $${missing[*]}; on Debian: sudo apt-get install -y $${missing[*]}" >&2
		exit 1
	fi
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${missing[@]}"

.PHONY: verify
verify: test-deps ## Hold every island's program to the contract, with what it needs, and programs with a flaw each too
	$(GO) test -count 1 -timeout 10m -v -run '^TestEveryIslandKeepsTheContract$$' ./host/internal/e2e
	$(GO) test -count 1 -timeout 10m -v -run 'Program' ./sdk/islandtest

.PHONY: bench
bench: build $(TOOL)/centrifuge ## Measure; BENCH='--only warm --json' and the like choose what and how
	$(BUILD) -o .cache/bench ./host/internal/gateway/bench
	@.cache/bench $(BENCH)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@while IFS=: read -r file target; do
		echo "$$file $$target"
		$(GO) test -C "$$(dirname "$$file")" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) . </dev/null
	done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $(SOURCES) | sed 's/func //')

# The whole of what must not take it down, with full figures: hosts and islands have the race detector too, so give it an hour. The
# same tests with smaller figures are part of make test.
.PHONY: chaos
chaos: test-deps $(TOOL)/gotestsum ## Kill, hang, swap, flood and starve everything, with full figures (CHAOS picks tests)
	ISLANDS_CHAOS=full $(TOOL)/gotestsum --format testname -- -race -timeout 90m -count 1 -run '$(or $(CHAOS),^Test(Chaos|NothingDelivered))' ./host/internal/e2e
	$(if $(CHAOS),,ISLANDS_CHAOS=full ISLANDS_CHAOS_PROGRAMS=plain $(TOOL)/gotestsum --format testname -- -timeout 20m -count 1 -run '^TestChaos(Flood|KilledHost)' ./host/internal/e2e)

.PHONY: readme
readme: build test-deps ## Run the commands of the README and of the author's guide
	.ci/readme README.md
	.ci/readme sdk/README.md

##@ Keep in order

.PHONY: lint
lint: $(TOOL)/golangci-lint $(TOOL)/gofumpt ## Check the code against the house rules
	$(TOOL)/golangci-lint run
	for module in $(EXAMPLE_ISLANDS); do (cd "$$module" && $(CURDIR)/$(TOOL)/golangci-lint run); done
	@unformatted=$$($(TOOL)/gofumpt -l $(SOURCES))
	[[ -z $$unformatted ]] || { echo "gofumpt -w would change:" $$unformatted >&2; exit 1; }
	# What "islands new" writes is what authors copy.
	rm -rf .cache/new
	for kind in source store reporter; do
		$(GO) run ./host new $$kind demo-$$kind --sdk . --dir .cache/new/$$kind >/dev/null
		(cd .cache/new/$$kind && $(CURDIR)/$(TOOL)/golangci-lint run --config $(CURDIR)/.golangci.yml --disable gomoddirectives)
	done

.PHONY: format
format: $(TOOL)/gofumpt ## Format the code
	$(TOOL)/gofumpt -w $(SOURCES)

.PHONY: generate
generate: $(TOOL)/buf ## Write the generated code anew
	$(GO) generate ./...

.PHONY: check-generate
check-generate: ## Check that the generated code is what generate writes
	@state() { git status --porcelain; git diff HEAD; }
	before=$$(state)
	$(MAKE) --no-print-directory generate
	[[ $$(state) == "$$before" ]] || { git diff --stat; echo 'generate changed the tree: commit what it writes' >&2; exit 1; }

.PHONY: proto-lint
proto-lint: $(TOOL)/buf ## Check the contract in protobuf
	cd sdk/proto && ../../$(TOOL)/buf lint

.PHONY: proto-breaking
proto-breaking: $(TOOL)/buf ## Check that the contract has only grown since each frozen minor and the last tag
	.ci/contract check

.PHONY: freeze
freeze: $(TOOL)/buf ## Freeze the contract of this minor, when it is released
	.ci/contract freeze

.PHONY: next-minor
next-minor: $(TOOL)/buf ## Begin the next minor of the contract, before anything is added
	.ci/contract next

# The database is on the network. What cannot be asked within ten seconds is not waited for, and says so.
VULNDB ?= https://vuln.go.dev

.PHONY: govulncheck
govulncheck: $(TOOL)/govulncheck ## Look for known holes in what is built on, where their database can be reached
	@if curl -fsS --max-time 10 -o /dev/null $(VULNDB)/index/modules.json; then
		$(TOOL)/govulncheck -db $(VULNDB) -test $(PACKAGES)
		for module in $(MODULES); do $(TOOL)/govulncheck -C "$$module" -db $(VULNDB) -test ./...; done
	else
		echo 'govulncheck: the database $(VULNDB) cannot be reached; nothing was checked' >&2
	fi

.PHONY: tidy
tidy: ## Check that go.mod and go.sum hold what is used, unaltered
	for module in . $(EXAMPLE_ISLANDS); do (cd "$$module" && $(GO) mod tidy -diff && $(GO) mod verify); done

.PHONY: cross
cross: ## Check that everything builds elsewhere (CROSS)
	@for target in $(CROSS); do
		echo "$$target"
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build -buildvcs=false $(PACKAGES)
		for module in $(MODULES); do
			(cd "$$module" && CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build -buildvcs=false -o /dev/null .)
		done
	done

.PHONY: check
check: tidy build lint check-generate proto-lint proto-breaking govulncheck validate test readme cross ## Everything that must hold before a change lands

.PHONY: tools
tools: $(TOOLS:%=$(TOOL)/%) ## Build the pinned tools into .tools/bin

# The server that make bench measures beside the project's own is a program of this tree, not of its pin alone.
$(TOOL)/centrifuge: .tools/centrifuge/main.go

# Built once, and again when a pin changes. The two minutes are golangci-lint's.
$(TOOL)/%: .tools/%/go.mod .tools/%/go.sum
	(cd .tools/$* && $(BUILD) -o ../bin/ tool)
	@touch $@

.PHONY: clean
clean: ## Remove what build made; data/ and the tools stay
	rm -rf bin .cache/bench

.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Recipes are scripts, not lines.
.ONESHELL:
