#!/bin/sh
# What `make lint` runs: the linter's own test, the project's rules, clang-format, clang-tidy.
# Each finding is one line `file:line: what`. Exits 1 when there is any.
#
#   lint.sh [rules|format|tidy …]      default: all of them
set -u
cd "$(dirname "$0")/../.." || exit 2

for tool in python3 git clang-format clang-tidy; do
    command -v "$tool" >/dev/null || { echo "lint: $tool is missing; packaging/install-dependencies.sh installs it" >&2; exit 2; }
done

rules() {
    python3 -B tests/lint/test_lint.py 2>"$scratch/self" || { cat "$scratch/self" >&2; return 1; }
    python3 -B tests/lint/lint.py
}

# clang-format tells file, line, column and "error: code should be clang-formatted": once a line is enough.
format() {
    git ls-files -z '*.c' '*.h' | xargs -0 -r clang-format --dry-run -Werror 2>&1 |
        sed -n 's/^\([^:]*:[0-9]*\):[0-9]*: .*/\1: not as .clang-format says; clang-format -i mends it/p' |
        sort -u -t: -k1,1 -k2,2n >"$scratch/format"
    cat "$scratch/format"
    ! [ -s "$scratch/format" ]
}

# One process a core; a file that does not compile is a finding too. Tests are spared the analyzer: it does not know that
# cmocka's assertions end a test. A file found clean is not looked at again until it, a header or the rules change.
tidy() {
    flags="-std=gnu11 -D_GNU_SOURCE -I. $(pkg-config --cflags rdkafka libpcre2-8 yaml-0.1 libxxhash zlib libzstd liblz4 libcrypto)"
    mkdir -p build/lint
    rules=$({ git ls-files -z '*.h' | xargs -0 cat; cat .clang-tidy "tests/lint/lint.sh"; clang-tidy --version; } | sha256sum)
    git ls-files -z 'agent/*.c' 'plugins/*.c' 'tests/*.c' |
        xargs -0 -r -n 1 -P "$(nproc)" sh -c '
            clean=build/lint/$({ echo "$2" "$3"; cat "$3"; } | sha256sum | cut -d" " -f1)
            [ -e "$clean" ] && exit
            checks= know="-include tests/lint/analyzer.h"
            case $3 in
            agent/error.c) know= ;;
            agent/yaml.c) know="-DYAML_ITSELF $know" ;;
            tests/*) know= checks="--checks=-clang-analyzer-*" ;;
            esac
            found=$(clang-tidy --quiet $checks "$3" -- $1 -DVERSION="\"0\"" -DPLUGIN_DIR="\"\"" $know 2>/dev/null) &&
                [ -z "$found" ] && : >"$clean"
            printf "%s\n" "$found"
        ' tidy "$flags" "$rules" |
        sed -n "s|^$PWD/||; /^\\//d; s/^\([^: ]*:[0-9]*\):[0-9]*: \(warning\|error\): \(.*\)/\1: \3/p" |
        sort -u >"$scratch/tidy"
    cat "$scratch/tidy"
    ! [ -s "$scratch/tidy" ]
}

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
failed=0
[ $# -gt 0 ] || set -- rules format tidy
for part in "$@"; do
    case $part in
    rules | format | tidy) "$part" || failed=1 ;;
    *) echo "usage: lint.sh [rules|format|tidy …]" >&2; exit 2 ;;
    esac
done
exit $failed
