# The menu: the few commands a person types. `cargo xtask` does the work.
SHELL := /bin/bash
export RUST_BACKTRACE := 0
.DEFAULT_GOAL := help

.PHONY: help setup demo test check check-bench tidy fmt bench fuzz live live-all gil-matrix bottlenecks advice mixes whatif rules fleet thousand-clients test-lab soak deploys page nightly screenshots kernels unit book dist dist-test clean

help: ## Show this menu
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## Install what the build and the tests need (idempotent; the other commands call it)
	@xtask/setup.sh

demo: ## Trace a real gunicorn for ten seconds and show the report
	@xtask/setup.sh demo
	@cargo xtask demo

test: ## Run all tests: unit, property, replay, and live where root and BPF allow
	@xtask/setup.sh build
	@cargo xtask test

check: setup ## Format, lints, documentation and tests of the tree itself, warnings denied
	@cargo xtask check

tidy: setup ## Only the tests of the tree itself
	@cargo xtask tidy

fmt: setup ## Format the Rust code
	@cargo fmt --all

bench: setup ## Measure what it costs, beside empty programs and other tools (an hour on a quiet machine)
	@cargo xtask bench

check-bench: setup ## Compare the instructions of the hot path with their baseline (callgrind)
	@cargo xtask check-bench

fuzz: setup ## Fuzz what reads hostile bytes, a minute each
	@cargo xtask fuzz

live: setup ## Run every live test, the long ones too (a few minutes on a quiet machine)
	@cargo xtask live

live-all: setup ## Trace every server that is named and compare it with its own log
	@cargo xtask live-all

gil-matrix: setup ## Compare waits for the interpreter lock with another program's probes, on every CPython found (quiet machine)
	@cargo xtask gil-matrix

advice: setup ## Apply advice to real servers, see what becomes of the finding, and write lab/results/advice.md (nine minutes)
	@cargo xtask advice

mixes: setup ## Apply advice under 200 random mixes of servers, settings and loads, and watch healthy twins (two hours; can be cut off)
	@cargo xtask mixes

whatif: setup ## Forecast other settings of real servers, really run them, and write lab/results/whatif-judged.md (hours, quiet machine; can be cut off)
	@cargo xtask whatif

bottlenecks: setup ## Find what limits each server on each workload, and write lab/results/bottlenecks.md (a quarter of an hour)
	@cargo xtask bottlenecks

rules: setup ## Read every loop with and without each rule that infers, and write lab/results/rules.md (some minutes)
	@cargo xtask rules

fleet: setup ## Ask DuckDB and Spark about a made fleet of 200 hosts and a week; needs a Java (default-jre-headless) and 2 GB
	@cargo xtask fleet

thousand-clients: setup ## Let a thousand clients connect at once to every kind of server; writes lab/results/thousand-clients.md (some minutes)
	@cargo xtask thousand-clients

soak: setup ## Kill the profiler a hundred times under load
	@cargo xtask soak

deploys: setup ## Restart a server sixty times under `serve`, and replace two thousand workers: memory and series stay flat
	@WSGI_TRACE_DEPLOYS=60 cargo xtask live deploys_leave

page: setup ## Open the pages of all recordings in a headless Chromium; screenshots under target/page
	@cargo xtask page

nightly: setup ## Run everything that no change waits for (live, kernels, unit, fuzz, page, packages, bottlenecks, …; not mixes); a table at the end (hours, quiet machine)
	@cargo xtask nightly

screenshots: setup ## Take the pictures of docs/images again, of a real run, as root
	@cargo xtask screenshots

kernels: setup ## Trace a toy and a real gunicorn on Linux 6.1, 6.12 and Debian's newest in emulation, also preempting, and on arm64; see the refusal on 5.10
	@cargo xtask kernels

unit: setup ## Install the .deb on Debian 12 and 13 in emulation, and try its systemd unit there (some minutes; the first time as root)
	@cargo xtask unit

book: setup ## Make the guide a book, under target/book, and check its links
	@cargo xtask book

dist: setup ## Build the packages for x86_64 and arm64: static programs, wheels, .debs, container images, checksums; under target/dist
	@cargo xtask dist

dist-test: setup ## Build the packages, install each into a clean place and run it (some minutes)
	@cargo xtask dist-test

clean: ## Remove what the build made (tools stay)
	@rm -rf target

test-lab: setup ## Unit tests of the lab itself
	@cargo xtask test-lab
