# The menu: the few commands a person types. `cargo xtask` does the work.
SHELL := /bin/bash
export RUST_BACKTRACE := 0
.DEFAULT_GOAL := help

# What stands behind `##` is in the short menu, `#` in the long one, in the order of this file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(MAKEFILE_LIST))

help:
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@echo '  make help-all   Show the others: more of the tree, more tests, packages, the lab'

setup: ## Install what the build and the tests need (idempotent; the other commands call it)
	@xtask/setup.sh

check: setup ## Format, lints, documentation and tests of the tree itself, warnings denied
	@cargo xtask check

test: ## Run all tests: unit, property, replay, and live where root and BPF allow
	@xtask/setup.sh build
	@cargo xtask test

demo: ## Trace a real gunicorn for ten seconds and show the report
	@xtask/setup.sh demo
	@cargo xtask demo

live: setup ## Run every live test, the long ones too (a few minutes on a quiet machine)
	@cargo xtask live

fmt: setup ## Format the Rust code
	@cargo fmt --all

help-all: help
	@sed -n 's/^\([a-z-]*\):[^#]*[^#]# \(.*\)/  make \1\t\2/p; s/^# -- \(.*\)/\n\1:/p' $(MAKEFILE_LIST) | expand -t 26

# -- The tree

tidy: setup # Only the tests of the tree itself
	@cargo xtask tidy

check-bench: setup # Compare the instructions of the hot path with their baseline (callgrind)
	@cargo xtask check-bench

book: setup # Make the guide a book, under target/book, and check its links
	@cargo xtask book

page: setup # Open the pages of all recordings in a headless Chromium; screenshots under target/page
	@cargo xtask page

screenshots: setup # Take the pictures of docs/images again, of a real run, as root
	@cargo xtask screenshots

clean: # Remove what the build made (tools stay)
	@rm -rf target

# -- More tests

live-all: setup # Trace every server that is named and compare it with its own log
	@cargo xtask live-all

fuzz: setup # Fuzz what reads hostile bytes, a minute each
	@cargo xtask fuzz

soak: setup # Kill the profiler a hundred times under load
	@cargo xtask soak

deploys: setup # Restart a server sixty times under `serve`, and replace two thousand workers: memory and series stay flat
	@WSGI_TRACE_DEPLOYS=60 cargo xtask live deploys_leave

kernels: setup # Trace a toy and a real gunicorn on Linux 6.1, 6.12 and Debian's newest in emulation, also preempting, and on arm64; see the refusal on 5.10
	@cargo xtask kernels

unit: setup # Install the .deb on Debian 12 and 13 in emulation, and try its systemd unit there (some minutes; the first time as root)
	@cargo xtask unit

nightly: setup # Run everything that no change waits for (live, kernels, unit, fuzz, page, packages, bottlenecks, …; not mixes); a table at the end (hours, quiet machine)
	@cargo xtask nightly

# -- Packages

dist: setup # Build the packages for x86_64 and arm64: static programs, wheels, .debs, .rpms, container images, lists of parts, checksums; under target/dist
	@cargo xtask dist

dist-test: setup # Build the packages, install each into a clean place and run it (some minutes)
	@cargo xtask dist-test

# -- The lab: what measures, on a quiet machine; pages go to lab/results

bench: setup # Measure what it costs, beside empty programs and other tools (an hour)
	@cargo xtask bench

bottlenecks: setup # Find what limits each server on each workload (a quarter of an hour)
	@cargo xtask bottlenecks

advice: setup # Apply advice to real servers, and see what becomes of the finding (nine minutes)
	@cargo xtask advice

mixes: setup # Apply advice under 200 random mixes of servers, settings and loads, and watch healthy twins (two hours; can be cut off)
	@cargo xtask mixes

incidents: setup # Compose incidents by seed, and compare the leaves of chains with the truth (--seed, --runs; two minutes for the set that is always the same)
	@cargo xtask incidents --fixed

whatif: setup # Forecast other settings of real servers, and really run them (hours; can be cut off)
	@cargo xtask whatif

rules: setup # Read every loop with and without each rule that infers (some minutes)
	@cargo xtask rules

gil-matrix: setup # Compare waits for the interpreter lock with another program's probes, on every CPython found
	@cargo xtask gil-matrix

thousand-clients: setup # Let a thousand clients connect at once to every kind of server (some minutes)
	@cargo xtask thousand-clients

fleet: setup # Ask DuckDB and Spark about a made fleet of 200 hosts and a week; needs a Java (default-jre-headless) and 2 GB
	@cargo xtask fleet

test-lab: setup # Unit tests of the lab itself
	@cargo xtask test-lab
