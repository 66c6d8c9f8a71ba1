#!/usr/bin/env bash
# What idle files and starts with many known files cost; idle.py says how, and by what variables.
set -eu -o pipefail

cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
[ -x "$BUILD/splashdam" ] || { echo "bench: no $BUILD/splashdam; run make first" >&2; exit 1; }
exec python3 -B tests/bench/idle.py
