#!/usr/bin/env bash
# Runs the scenarios: tests/e2e/run.sh [PYTEST ARGUMENT …], all of them without arguments: then several at once, as they mostly
# wait, each lot with a broker of its own, and those that measure afterwards.
#
#   E2E_JOBS=3     how many at once
#   BUILD=build    where splashdam was built
#
# Makes what they need at the first run, and again when requirements.txt or pom.xml changed: build/venv, a Python
# environment, and build/kafka/libs, Apache Kafka. Both are always in build/, whatever BUILD is.
set -u -o pipefail

cd "$(dirname "$0")/../.." || exit 1
here=tests/e2e
export BUILD=${BUILD:-build}
export PYTHONPYCACHEPREFIX=$PWD/build/pycache

fail() { echo "e2e: $*" >&2; exit 1; }

thrice() { # COMMAND …: registries have hiccups
    local wait
    for wait in 3 10 0; do
        "$@" && return 0
        [ $wait -eq 0 ] || { echo "e2e: failed, trying again in $wait s: $*" >&2; sleep $wait; }
    done
    return 1
}

stamp() { # what a folder was made from, and where: a venv can't be moved
    { pwd; cat "$@"; } | sha256sum
}

make_venv() {
    local python=/usr/bin/python3
    [ -x $python ] || python=$(command -v python3) || fail "python3 is missing; packaging/install-dependencies.sh check"
    rm -rf build/venv
    "$python" -m venv build/venv || fail "no virtual environment; packaging/install-dependencies.sh check installs python3-venv"
    thrice build/venv/bin/pip install --quiet --disable-pip-version-check -r $here/requirements.txt ||
        fail "the Python packages of $here/requirements.txt could not be installed"
}

make_kafka() {
    command -v mvn >/dev/null || fail "mvn is missing; packaging/install-dependencies.sh check"
    rm -rf build/kafka
    thrice mvn --quiet --batch-mode -Dstyle.color=never --file $here/pom.xml dependency:copy-dependencies ||
        fail "Apache Kafka could not be fetched with Maven"
}

fresh() { # FOLDER FUNCTION FILE …: calls the function unless the folder was made from these very files
    local folder=$1 make=$2
    shift 2
    [ "$(cat "$folder/stamp" 2>/dev/null)" = "$(stamp "$@")" ] && return 0
    echo "e2e: making $folder"
    $make
    stamp "$@" > "$folder/stamp"
}

mkdir -p build
# One at a time, should two of these start at once.
exec 9> build/e2e.lock
flock 9
fresh build/venv make_venv $here/requirements.txt
fresh build/kafka make_kafka $here/pom.xml
exec 9>&-

where=$here # unless an argument says what to run
for argument in "$@"; do
    [ -e "${argument%%::*}" ] && where=''
done
scenarios() { build/venv/bin/python -m pytest -c $here/pytest.ini --rootdir=$here "$@"; }
if [ $# -eq 0 ]; then
    scenarios -n "${E2E_JOBS:-3}" -m 'not alone' $where
    many=$?
    scenarios -m alone $where
    alone=$?
    exit $((many | alone))
fi
scenarios "$@" $where
