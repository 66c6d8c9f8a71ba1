#!/usr/bin/env bash
# Measures splashdam beside a bare librdkafka loop (bench.py), how fast lines get through (latency.py), and outages (outage.py); each says how, and
# by what variables.
#
#   BUILD=build    where splashdam was built; the bench's two programs go to $BUILD/bench
set -eu -o pipefail

cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
export PYTHONPYCACHEPREFIX=$PWD/build/pycache

[ -x "$BUILD/splashdam" ] || { echo "bench: no $BUILD/splashdam; run make first" >&2; exit 1; }
# The scenarios' runner makes build/venv and build/kafka; asked for pytest's version it does no more.
tests/e2e/run.sh --version >/dev/null

mkdir -p "$BUILD/bench"
warnings='-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes'
for program in nginx_log bare_loop paced; do
    # shellcheck disable=SC2046,SC2086
    ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -g $warnings $(pkg-config --cflags rdkafka) \
        -o "$BUILD/bench/$program" "tests/bench/$program.c" $(pkg-config --libs rdkafka)
done
# BENCH_ONLY=bench, latency or outage runs just that one.
result=0
for part in ${BENCH_ONLY:-bench latency outage}; do
    build/venv/bin/python "tests/bench/$part.py" || result=1
done
exit $result
