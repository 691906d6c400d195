# What a developer types; `just` alone lists it. Everything here is also plain cargo: nothing needs just.

_list:
    @just --list --unsorted

# A fleet in this terminal, from nothing.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Before every commit: format, lints, fast tests.
check: fmt lint test

# Format everything.
fmt:
    cargo fmt --all

# Clippy with warnings as errors.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# All tests that need no privileges.
test *ARGS:
    cargo nextest run --workspace -E 'not test(/^lab::/)' {{ARGS}}

# Three real libvirtd hosts with real guests; needs root.
lab:
    cargo nextest run -p ballast-tests -E 'test(/^lab::/)' --success-output immediate

# Everything, as the project's own check runs it; installs what it needs.
all:
    ./tests/run

# Licences, advisories, bans, sources.
deny:
    cargo deny check

# What a program is built from: name and version, licence, source; of our own crates no folder. `just sbom ballast-scheduler`.
sbom PROGRAM:
    @cargo tree --locked -p {{PROGRAM}} -e normal,build --prefix none --format '{p}|{l}|{r}' | sed -E 's: \(/[^)]*\)::; s: \(\*\)$::' | sort -u

# The documentation, with broken links as errors.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Build the two daemons for a host.
daemons:
    cargo build --release -p ballast-agent -p ballast-scheduler
