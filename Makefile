# Tenon: build, try out, test, measure, install. `make help` lists the targets.

GO      ?= go
PREFIX  ?= /usr
DESTDIR ?=
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.buildVersion=$(VERSION)
# Packages that the tests need besides Go and make: a C compiler for the race detector,
# systemd-analyze for the units, mkfs for loop images, unshare for the demo, patch for the
# mutants, a real etcd.
APT      = gcc libc6-dev util-linux patch systemd xfsprogs e2fsprogs btrfs-progs etcd-server
# What the virtual machines need; their kernels and systemd are downloaded, not installed.
APT_VM   = util-linux xfsprogs e2fsprogs btrfs-progs xz-utils
# What recorded power cuts need: qemu-storage-daemon.
APT_CUT  = util-linux xfsprogs e2fsprogs btrfs-progs qemu-system-common
# What virtual machines are: uml, user-mode Linux, or qemu, emulation of Debian's kernel.
ENGINE  ?= uml
# Whether CI has them: what is provided must work. VM= on a machine that cannot have them.
VM      ?= $(ENGINE)
# What this machine provides, so that a test which skips for want of it fails instead.
REQUIRE  = $(if $(filter 0,$(shell id -u)),root$(comma)mounts$(comma)loop$(comma)ext4$(comma)xfs$(comma)btrfs$(comma))systemd-analyze$(comma)etcd
comma   := ,

# How long each fuzz target runs.
FUZZTIME ?= 30s

# The race detector needs a C compiler; without one the tests run without it.
CC_FOUND = $(shell command -v gcc || command -v cc)

export CGO_ENABLED ?= 0

.DEFAULT_GOAL = build
.PHONY: help build demo test fuzz acceptance kill soak power-cut mutants histories histories-loop histories-core vm test-vm test-systemd deps-vm bench bench-smoke ci fmt vet staticcheck lint tidy units install uninstall deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/tenon, a static binary
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/tenon ./cmd/tenon

demo: build ## the main job on a throw-away pool, step by step; as root or in a user namespace
	@testdata/demo/demo bin/tenon

test: ## all tests of this machine; those that need root run when root
	$(if $(CC_FOUND),CGO_ENABLED=1) $(GO) test $(if $(CC_FOUND),-race) -shuffle=on -timeout 15m ./... ./testdata/vm/vdisk ./testdata/master/receiver

fuzz: ## every fuzz target for FUZZTIME each, as many at once as there are processors
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | sort -u | \
	xargs -P "$$(nproc)" -L 1 sh -c 'out=$$($(GO) test -run "^$$" -parallel 1 -fuzz "^$$1$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$0" 2>&1) \
	&& echo "$$1: $$(echo "$$out" | grep -o "execs: [0-9]*" | tail -n 1)" || { echo "$$out"; exit 255; }'

acceptance: ## the acceptance list of the specification, case by case (agent/acceptance)
	@$(GO) test -C agent/acceptance -count=1 -run '^TestAcceptance$$' -timeout 15m -args -whole

# How often `make kill` kills (300) and `make power-cut` cuts (100, for each disk).
N ?=
# Of `make kill`: the seed of its choices. Of `make power-cut`: with which patch of
# testdata/mutants, if any, and on which disks; ENGINE is host there unless it is given.
SEED   ?= $(shell date +%s)
MUTANT ?=
DISKS  ?=

kill: build ## as root: kill the agent N times under load, and check after each (SEED=...)
	$(GO) build -o bin/crash ./agent/agenttest/crash
	unshare --mount --propagation private bin/crash kill -n $(or $(N),300) -seed $(SEED)

power-cut: CUTTER = $(if $(filter file,$(origin ENGINE)),host,$(ENGINE))
power-cut: ## cut the power N times under load, and check what is left (ENGINE=host|qemu|uml)
	$(if $(filter host,$(CUTTER)),@$(MAKE) --no-print-directory deps APT='$(APT_CUT)')
	testdata/vm/power-cut -e $(CUTTER) -n $(or $(N),100) $(if $(MUTANT),-m $(MUTANT)) $(DISKS)

mutants: ## break a copy of the tree in each way of testdata/mutants/table: a named test has to notice
	testdata/mutants/run

# How many `make histories` runs, and the seed of the first.
FIRST ?= 1
WAYS   = CGO_ENABLED=0 nice $(GO) test -count=1 -timeout 30m -v

histories: ## N random histories of the loop, and as many of the core: crashes, failures, power cuts at every effect (N=100000)
	@$(MAKE) --no-print-directory -j2 histories-loop histories-core N=$(or $(N),100000)

histories-loop:
	$(WAYS) -run '^TestNothingIsLostOrLeaksWhereverTheAgentCrashes$$' ./agent -crash.histories=$(N) -crash.first=$(FIRST)

histories-core:
	$(WAYS) -run '^TestHistoriesWithCrashesEndAsTheOracleSays$$' ./agent/volume -rapid.checks=$(N)

# How long `make soak` soaks.
MINUTES ?= 10

soak: build ## as root: everything at once for MINUTES, with a table of what the agent takes (SEED=...)
	$(GO) build -o bin/crash ./agent/agenttest/crash
	unshare --mount --propagation private bin/crash soak -minutes $(MINUTES) -seed $(SEED)

bench: ## performance as ratios to the kernel's limits, measured in the same run
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m ./...

vm: test-vm test-systemd ## all tests that need another kernel, or systemd as PID 1
	ENGINE=$(ENGINE) testdata/vm/quota bin/quota.test -test.run='^$$' -test.bench=.
	testdata/vm/selftest $(ENGINE) host

test-vm: deps-vm ## limits, and the conformance of the kernel, on XFS, ext4 and btrfs in virtual machines (see testdata/vm/README.md); ENGINE=uml|qemu
	mkdir -p bin && CGO_ENABLED=0 $(GO) test -c -o bin/quota.test ./isolator/quota
	CGO_ENABLED=0 $(GO) test -c -o bin/host.test ./agent/host
	CGO_ENABLED=0 $(GO) test -c -o bin/cgroup.test ./isolator/cgroup
	testdata/vm/run-in-vm -e $(ENGINE) -d ext4 -E TENON_TEST_REQUIRE=io,disk -- bin/cgroup.test -test.run='Limits|Kill|Populated'
	ENGINE=$(ENGINE) testdata/vm/quota bin/quota.test
	ENGINE=$(ENGINE) testdata/vm/quota bin/host.test -test.run='Limit|Conforms'

test-systemd: deps-vm build ## the service as it is installed, under systemd, in a virtual machine: start, watchdog, kill -9, upgrade, reboot
	mkdir -p bin && CGO_ENABLED=0 $(GO) test -c -o bin/systemd.test ./systemd
	testdata/vm/run-in-vm -e $(ENGINE) -S -t 400 -E TENON_TEST_REQUIRE=systemd -- bin/systemd.test -test.run=UnderSystemd
	rm -rf bin/dest && $(MAKE) --no-print-directory -s install DESTDIR=$(CURDIR)/bin/dest
	testdata/vm/run-in-vm -e $(ENGINE) -S -t 600 -f bin/dest:/payload/dest -- testdata/vm/service

deps-vm: ## fetch what the virtual machines of ENGINE need
	@$(MAKE) --no-print-directory deps APT='$(APT_VM) $(if $(filter qemu,$(ENGINE)),qemu-system-x86)'
	@testdata/vm/run-in-vm --setup -e $(ENGINE) -S

bench-smoke: ## every benchmark compiles and runs once
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 15m ./...

ci: deps fmt tidy vet staticcheck lint ## what CI runs
	TENON_TEST_REQUIRE=$(REQUIRE) $(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory histories N=100000
	$(MAKE) --no-print-directory demo acceptance bench-smoke units mutants fuzz
	$(if $(VM),$(MAKE) --no-print-directory -j2 -O test-vm test-systemd)
	$(if $(VM),$(MAKE) --no-print-directory power-cut N=5 DISKS='ext4:512M xfs:512M btrfs:512M')

fmt: ## gofmt has nothing to say
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt these:"; echo "$$out"; exit 1; }

tidy: ## go.mod and go.sum are as go mod tidy leaves them
	$(GO) mod tidy -diff

vet: ## go vet, for amd64 and arm64
	$(GO) vet ./... ./testdata/vm/vdisk ./testdata/vm/pcwriter ./testdata/master/receiver
	GOARCH=arm64 $(GO) vet ./...

staticcheck: ## staticcheck, the version that go.mod pins
	$(GO) tool staticcheck ./...

lint: ## the house rules: imports, comments, sizes, names
	$(GO) test -count=1 ./agent/internal/lint

units: build ## systemd-analyze verify on what would be installed
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(MAKE) --no-print-directory -s install DESTDIR="$$dir" && \
	cp /usr/lib/systemd/system/*.target "$$dir/usr/lib/systemd/system/" && \
	out=$$(systemd-analyze verify --root="$$dir" --man=no tenon.service tenon.socket 2>&1) && \
	{ test -z "$$out" || { echo "$$out"; exit 1; }; } && echo "units verified"

install: ## install the binary (built if it is not) and the units beneath DESTDIR
	test -x bin/tenon || $(MAKE) build
	install -D -m 0755 bin/tenon $(DESTDIR)$(PREFIX)/bin/tenon
	install -d -m 0755 $(DESTDIR)/usr/lib/systemd/system
	sed 's:/usr/bin/tenon:$(PREFIX)/bin/tenon:; s:/usr/share/doc:$(PREFIX)/share/doc:' systemd/tenon.service \
		>$(DESTDIR)/usr/lib/systemd/system/tenon.service
	install -D -m 0644 systemd/tenon.socket $(DESTDIR)/usr/lib/systemd/system/tenon.socket
	install -D -m 0644 systemd/sysusers.d/tenon.conf $(DESTDIR)/usr/lib/sysusers.d/tenon.conf
	install -D -m 0644 systemd/tmpfiles.d/tenon.conf $(DESTDIR)/usr/lib/tmpfiles.d/tenon.conf
	install -D -m 0644 README.md $(DESTDIR)$(PREFIX)/share/doc/tenon/README.md

uninstall: ## remove what install installed; data and configuration stay
	rm -f $(DESTDIR)$(PREFIX)/bin/tenon $(DESTDIR)/usr/lib/systemd/system/tenon.service \
		$(DESTDIR)/usr/lib/systemd/system/tenon.socket $(DESTDIR)/usr/lib/sysusers.d/tenon.conf \
		$(DESTDIR)/usr/lib/tmpfiles.d/tenon.conf $(DESTDIR)$(PREFIX)/share/doc/tenon/README.md

deps: ## install the Debian packages that the tests need, where any is missing
	@missing=$$(for p in $(APT); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; fi

clean: ## remove what was built
	rm -rf bin dist
