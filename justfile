# Short names for the usual commands; CONTRIBUTING.md gives the plain ones. `just` alone lists the recipes.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments := true

_list:
    @just --list

# Every test; arguments go to nextest: `just test --filterset 'test(ttl)'`
test *args:
    scripts/test -- "$@"

# The tests that take too long for every run
long *args:
    scripts/test --long -- "$@"

# Format and lints, as CI checks them
lint:
    . scripts/env.sh && cargo fmt --all --check
    . scripts/env.sh && cargo clippy --workspace --all-targets --all-features -- -D warnings

# API documentation, warnings are errors
docs:
    . scripts/env.sh && RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Public API against its snapshots; `just api --bless` writes them anew
api *args:
    scripts/api "$@"

# Benchmarks
bench *args:
    . scripts/env.sh && cargo run --release -p cacheness-bench -- {{args}}

# The first example to read
quickstart:
    scripts/quickstart

# Everything a change must pass
ci:
    .ci/run
