# Commands for developers. `make` alone lists them. Everything works from any directory and any clone, and honours
# CARGO_TARGET_DIR.

SHELL := /bin/sh
.DEFAULT_GOAL := help
# How many faults `make faults` injects on each footprint, and where it begins.
FAULTS ?= 600
FAULTS_SEED ?= 29875

.PHONY: help run test acceptance faults check web bench fuzz dist image release publish-dry growth clean cargo

# How long `make fuzz` spends on each target, in seconds.
FUZZ_SECONDS ?= 30

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

run: cargo ## build the server and start it on SQLite (in ./data) at http://localhost:8000
	@test -e $${CARGO_TARGET_DIR:-target}/debug/josoor-auth || \
	echo "The first build compiles some 290 crates: about five minutes on two cores, 1.5 GB in target. Later starts take a second."
	cargo run --package josoor-auth --bin josoor-auth -- serve --dev

test: cargo ## install what the tests need, then run all of them on both footprints
	@scripts/test

acceptance: cargo ## run the acceptance tests at full size and write tests/acceptance/REPORT.md
	@scripts/acceptance

faults: cargo ## break a running service FAULTS (600) times on each footprint and write tests/faults/REPORT.md
	@scripts/setup-tests
	cargo build --package josoor-auth --bin josoor-auth
	$${CARGO_TARGET_DIR:-target}/python/bin/python tests/faults/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/josoor-auth \
	  --faults $(FAULTS) --seed $(FAULTS_SEED) --report tests/faults/REPORT.md

web: ## build the pages into the server's assets, and the SDK
	@scripts/setup-tests
	npm run build --workspace packages/client
	scripts/web

check: cargo ## formatting, lints, words and the documentation build; no warning passes
	@scripts/setup-tests
	scripts/check-words
	npx --no-install biome ci --error-on-warnings .
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@# Without the feature that opens the modules to tests: what only tests use is dead code. Clippy's own lints are done with.
	cargo clippy --workspace -- -D warnings -A clippy::all -A clippy::pedantic
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --all-features check licenses bans sources; \
	else echo "cargo-deny is not installed: licences and banned crates were not checked"; fi

bench: cargo ## measure beside a plain server and two others; half an hour on an otherwise idle machine
	@scripts/setup-tests
	cargo build --release --locked --package josoor-auth --package josoor-auth-bench
	$${CARGO_TARGET_DIR:-target}/python/bin/python bench/run.py
	cargo bench --package bcrypt-interleaved --bench widths
	cargo bench --package josoor-auth --bench hash_pool
	cargo bench --package josoor-auth --bench sign_in_timing
	cargo bench --package josoor-auth --bench forgot_timing
	cargo bench --package josoor-auth --bench import

growth: cargo ## measure installations of 10,000 to a million users and write bench/GROWTH.md, on an otherwise idle machine
	@scripts/setup-tests
	cargo build --release --locked --package josoor-auth --package josoor-auth-bench
	$${CARGO_TARGET_DIR:-target}/python/bin/python bench/growth.py

fuzz: cargo ## run every fuzz target for FUZZ_SECONDS (30)
	@scripts/fuzz $(FUZZ_SECONDS)

dist: cargo ## build the release binary, stripped, with its symbols and checksums beside it, in target/dist
	@scripts/dist

image: dist ## build the container image from it, without a daemon, in target/dist
	@scripts/image

release: image ## pack what a release hands out: archive, deb, chart, image, bill of materials, checksums, in target/release-files
	@scripts/release

publish-dry: cargo ## pack and build what would be published to crates.io and npm, in target/packages; nothing is uploaded
	@scripts/packages

clean: cargo ## remove what was built (never ./data)
	cargo clean

cargo:
	@command -v cargo >/dev/null || { \
	echo "cargo, the Rust toolchain's program, is not on PATH. Install Rust from https://rustup.rs, open a new shell"; \
	echo "and try again. The version that is needed stands in Cargo.toml (rust-version)."; exit 1; }
