#!/usr/bin/env bash
# Installs with apt what splashdam needs and this machine lacks. Made for Debian 12; does nothing when all is there.
#
#   packaging/install-dependencies.sh [WORD …]
#
#     build   to build it (what is meant without a word)
#     check   build, and to run all its tests
#     demo    build, and to watch it at work
#     lint    to check format and rules
#     fuzz    build, and to fuzz it with libFuzzer
#
# Needs root, or sudo, only when something has to be installed. Exit: 0 all there, 1 failed, 2 usage.
set -u -o pipefail

# name|name: either will do, the first is preferred.
build=(gcc libc6-dev make pkg-config libev-dev librdkafka-dev libpcre2-dev 'libinotifytools0-dev|libinotifytools-dev' libyaml-dev
    libsystemd-dev libxxhash-dev zlib1g-dev libzstd-dev liblz4-dev libssl-dev)
demo=(kcat)
check=(libcmocka-dev logrotate zstd kcat 'openjdk-17-jre-headless|default-jre-headless' maven python3 python3-venv)
lint=(clang-format clang-tidy cppcheck python3)
fuzz=(clang 'libclang-rt-14-dev|libclang-rt-dev')
lock_patience=300 # seconds to wait for another apt or dpkg

say() { echo "install-dependencies: $*"; }
die() { say "$*" >&2; exit 1; }

usage() {
    sed -n '2,/^set /{/^#/s/^# \?//p}' "$0"
    exit "$1"
}

wanted=()
for word in "${@:-build}"; do
    case $word in
    build) wanted+=("${build[@]}") ;;
    check) wanted+=("${build[@]}" "${check[@]}") ;;
    demo) wanted+=("${build[@]}" "${demo[@]}") ;;
    lint) wanted+=("${lint[@]}") ;;
    fuzz) wanted+=("${build[@]}" "${fuzz[@]}") ;;
    -h | --help) usage 0 ;;
    *) say "unknown word '$word'; known are: build check demo lint fuzz" >&2; exit 2 ;;
    esac
done

for tool in dpkg-query apt-get apt-cache; do
    command -v "$tool" >/dev/null ||
        die "$tool is missing: this script is for Debian and its kin. Install by hand: ${wanted[*]}"
done

installed() { # PACKAGE; also when the name is of another architecture's form, or provided by nothing but itself
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -x installed >/dev/null
}

any_installed() { # NAME|NAME
    local name
    for name in ${1//|/ }; do
        installed "$name" && return 0
    done
    return 1
}

# Not grep -q: it leaves at the first match, and with pipefail the SIGPIPE of the other side would then count as "no".
has_candidate() { # PACKAGE
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep '^  Candidate: [^(]' >/dev/null
}

candidate() { # NAME|NAME: prints the first that apt can install
    local name
    for name in ${1//|/ }; do
        has_candidate "$name" && echo "$name" && return 0
    done
    return 1
}

missing=()
for names in "${wanted[@]}"; do
    any_installed "$names" || [[ " ${missing[*]-} " == *" $names "* ]] || missing+=("$names")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing, and installing them needs root or sudo: ${missing[*]}"
    as_root=(sudo)
fi

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o "DPkg::Lock::Timeout=$lock_patience" \
        -o Acquire::Retries=3 "$@"
}

updated=''
update_lists() { # once
    [ -n "$updated" ] && return 0
    updated=1
    say "apt's lists of packages are fetched"
    apt_get update || say "apt-get update failed; trying with the lists that are there" >&2
}

choose() { # sets packages; 1: something has no candidate
    local names
    packages=() unknown=()
    for names in "${missing[@]}"; do
        packages+=("$(candidate "$names")") || unknown+=("$names")
    done
    [ ${#unknown[@]} -eq 0 ]
}

say "will be installed: ${missing[*]}"
choose || { update_lists; choose; } || die "apt knows no package ${unknown[*]}; is this Debian 12 with its main section?"
# Lists that are too old name versions that are gone from the mirror: then fetch them and try again.
apt_get install --no-install-recommends "${packages[@]}" ||
    { [ -z "$updated" ] && update_lists && apt_get install --no-install-recommends "${packages[@]}"; } ||
    die "apt could not install ${packages[*]}; its own words stand above"
for names in "${missing[@]}"; do
    any_installed "$names" || die "$names is still missing after the installation"
done
say "done"
