#!/usr/bin/env bash
# Fetches axe-core (MPL-2.0), the accessibility checker that tests/page/check.mjs runs in the pages, into .tools/axe. Only
# its one file is unpacked, nothing is installed, no script of the package is run.
set -euo pipefail
cd "$(dirname "$0")/../.."

package=axe-core@4.14.1
target=.tools/axe
sums='29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c  axe.min.js
af175b9d96ee93c21a036152e1b905b0b95304d4ae8c2c921c7609100ba8df7e  LICENSE'

mkdir -p "$target"
if (cd "$target" && sha256sum --status -c <<<"$sums" 2>/dev/null); then exit 0; fi
command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export npm_config_fetch_retries=1
archive=$(npm pack --silent --ignore-scripts --pack-destination "$work" "$package")
tar -xzf "$work/$archive" -C "$work" package/axe.min.js package/LICENSE
(cd "$work/package" && sha256sum --quiet -c <<<"$sums")
cp "$work"/package/{axe.min.js,LICENSE} "$target/"
