# The two commands of a fresh machine are `make demo` and `make test`. The others are for who works
# here: see CONTRIBUTING.md.

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/timecraft/target
TIMECRAFT = $(CARGO_TARGET_DIR)/debug/timecraft

.PHONY: help build demo test check lint doc testdata capture bench soak clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# The tests bring features to shared dependencies, and another set of features is another ten minutes:
# the binary is built with them, once for `make demo` and `make test`.
build: ## build the binary and the tests
	cargo build --locked --workspace --bins --tests --features real-guests

demo: build ## run a real guest, record it, and ask three questions about it
	@scripts/demo.sh $(TIMECRAFT)

test: testdata ## every test, with real guests and real parts
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

testdata: ## build the guests
	$(MAKE) -C testdata

capture: ## the binary that only records, in release: its size is held under 20 MB
	scripts/capture-build.sh size

bench: ## measure, and print the tables of BENCHMARKS.md
	scripts/bench.sh

soak: ## what takes minutes
	cargo test --locked --workspace --lib --bins --tests --features real-guests -- --ignored soak

clean: ## remove what was built
	cargo clean
	$(MAKE) -C testdata clean
