# Freehold's chores. `make help` lists them.

CARGO ?= cargo
# Where `make up` keeps its state; `make down` finds the running Freehold there.
export FREEHOLD_DATA ?= $(CURDIR)/target/freehold
RELEASE := target/release/freehold

.DEFAULT_GOAL := help
.PHONY: help up down test fuzz check bench deb fmt needs-build needs-test needs-fuzz needs-bench

help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: needs-build ## Builds and starts Freehold in the background and deploys examples/guestbook
	@$(CARGO) build --release --package freehold-cli
	@scripts/up.sh $(RELEASE)

down: ## Stops what `make up` started, apps included; data is kept
	@scripts/down.sh

test: needs-build needs-test needs-fuzz ## Runs every test: units, properties, simulation, end to end
	@scripts/test-images.sh
	@scripts/test-images-stacks.sh
	@scripts/test.sh

fuzz: needs-build needs-fuzz ## Fuzzes one target of fuzz/ for longer: make fuzz TARGET=layer SECONDS=600
	@scripts/fuzz.sh $(TARGET) $(SECONDS)

check: needs-build ## Checks format, lints, arrows between crates, licences
	$(CARGO) fmt --all --check
	rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) xtask arrows
	@scripts/deny.sh

bench: needs-build needs-bench ## Measures Freehold beside its peers, writes docs/benchmarks.md
	@$(CARGO) build --quiet --release --package freehold-cli
	@$(CARGO) build --quiet --release --package freehold-store --example commit_bench --example grow_store
	@$(CARGO) build --quiet --release --package freehold-edge --example proxy_bench
	$(CARGO) xtask bench

deb: needs-build ## Builds the Debian package, target/debian/freehold_*.deb
	@scripts/deb.sh

fmt: ## Formats the code
	$(CARGO) fmt --all

needs-build:
	@scripts/needs.sh "to build (a C compiler for SQLite, libseccomp for containers)" \
	    gcc libc6-dev pkg-config libseccomp-dev

needs-test:
	@scripts/needs.sh "to test the Go template of freehold init" golang-go
	@scripts/needs.sh "to test (images from ordinary tools, a small root file system, a client, a name server, to look at the packet filter)" \
	    skopeo umoci mmdebstrap busybox-static curl jq iproute2 procps util-linux dnsmasq-base bind9-dnsutils nftables
	@scripts/needs.sh "to test the store on PostgreSQL (a server of the tests' own, on a socket in /tmp)" postgresql
	@scripts/needs.sh "to test (HAProxy stands before endpoints, wrk loads them)" haproxy wrk
	@scripts/needs.sh "to test Freehold without root (newuidmap gives an ordinary user ids)" uidmap
	@scripts/needs.sh "to test sizes that a file system enforces (a btrfs is made on a loop device)" btrfs-progs
	@scripts/needs.sh "to test the door for machines (openssl is a client that somebody else wrote)" openssl
	@scripts/needs.sh "to test with clocks that are wrong, and from host to host" libfaketime python3
	@scripts/needs.sh "to test signing in (a real browser opens the pages)" chromium
	@scripts/needs.sh "to hold the server to its OpenAPI document (schemathesis)" python3-venv
	@command -v npm >/dev/null || scripts/needs.sh "to sign in to apps with OpenID clients that others wrote (openid-client, authlib)" nodejs npm python3-venv

needs-fuzz:
	@scripts/needs.sh "to fuzz (libFuzzer is C++)" g++

needs-bench:
	@scripts/needs.sh "to compare (podman, etcd, HAProxy, skopeo, umoci and pgbench are the peers; a registry serves both)" \
	    postgresql podman runc etcd-server haproxy docker-registry skopeo umoci mmdebstrap busybox-static curl jq
