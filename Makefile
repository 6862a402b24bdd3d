# The two commands of a fresh machine are `make demo` and `make test`. The others are for who works
# here: see CONTRIBUTING.md.

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/timecraft/target
TIMECRAFT = $(CARGO_TARGET_DIR)/debug/timecraft

.PHONY: help build demo test check lint doc reference testdata peers capture bench soak fuzz loom clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# The tests bring features to shared dependencies, and another set of features is another ten minutes:
# the binary is built with them, once for `make demo` and `make test`.
build: ## build the binary and the tests
	cargo build --locked --workspace --bins --tests --features real-guests

demo: build ## run a real guest, record it, and ask three questions about it
	@scripts/demo.sh $(TIMECRAFT)

test: testdata peers ## every test, with real guests and real peers
	$(MAKE) -C testdata verify
	cargo test --locked --workspace --lib --bins --tests --features real-guests
	cargo test --locked --workspace --doc
	scripts/capture-build.sh tree

check: ## the tests for every save: Rust alone, no root
	cargo test --locked --workspace --lib --bins --tests

lint: ## format and clippy, with warnings denied
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features real-guests -- -D warnings
	cargo clippy --locked -p timecraft --no-default-features --all-targets -- -D warnings

doc: ## the documentation of the crates, with warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

reference: ## write docs/reference.md anew: tables, views and functions, with what the examples give
	TIMECRAFT_BLESS=1 cargo test --locked -p timecraft-query --test it reference

testdata: ## build the guests
	$(MAKE) -C testdata

peers: ## install the servers, clients and captures that the tests need
	scripts/setup-tests.sh

capture: ## the binary that only records, in release: its size is held under 20 MB
	scripts/capture-build.sh size

bench: ## measure, and print the tables of BENCHMARKS.md
	scripts/bench.sh

soak: ## what takes minutes
	cargo test --locked --workspace --lib --bins --tests --features real-guests -- --ignored soak

# What was found to reach new code is kept, and gone on from the next time.
FUZZ_SECONDS ?= 60
FUZZ_INPUTS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/timecraft/fuzz

fuzz: ## fuzz the readers of logs and the decoders, a minute each (FUZZ_SECONDS); needs cargo-fuzz
	cd fuzz && cargo run --locked --example seeds -- $(FUZZ_INPUTS)/seeds
	cd fuzz && for target in segment tail records dns http1 hpack http2; do \
		mkdir -p $(FUZZ_INPUTS)/$$target && \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target $(FUZZ_INPUTS)/$$target $(FUZZ_INPUTS)/seeds/$$target \
			-- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 || exit 1; \
	done

# Its own folder: the flag changes how everything is built.
loom: ## every order in which the threads of a recording may meet, in models
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom RUSTFLAGS="--cfg loom" \
		cargo test --locked -p timecraft-segment --release --lib models

clean: ## remove what was built
	cargo clean
	$(MAKE) -C testdata clean
