#!/usr/bin/env bash
# The main job, for a person to watch: splashdam tails real files, parses their lines, ships them to a Kafka broker,
# and a consumer shows what arrives. Ends with an account in which no line may be missing.
#
#   DEMO_SECONDS=15   how long; 0: until Ctrl-C
#   BUILD=build       where splashdam was built
#
# Everything it writes is in one temporary folder, everything it starts is ended; both also after Ctrl-C.
set -u -o pipefail

seconds=${DEMO_SECONDS:-15}
build=$(cd "${BUILD:-build}" 2>/dev/null && pwd) || { echo "demo: no folder ${BUILD:-build}; run make first" >&2; exit 1; }
packages=demo.packages
application=demo.application
declare -A shown_at_once=([$packages]=3 [$application]=12) # records printed at a time; the rest is counted
patience=20        # seconds that starting, or catching up at the end, may take

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' blue=$'\e[34m' cyan=$'\e[36m' plain=$'\e[0m'
    width=$(tput cols 2>/dev/null || echo 100)
else
    bold='' dim='' red='' green='' yellow='' blue='' cyan='' plain=''
    width=${COLUMNS:-100}
fi

for tool in "$build/splashdam" kcat setsid; do
    command -v "$tool" >/dev/null || { echo "demo: $tool is missing" >&2; exit 1; }
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/splashdam-demo.XXXXXX") || exit 1
log=$dir/agent.log
agent='' writer='' consumers=() stop=''
declare -A descriptor=() received=([$packages]=0 [$application]=0)

end() { # PID: asks it to end, waits, and insists
    kill -TERM "$1" 2>/dev/null || return 0
    for _ in {1..30}; do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

clean_up() {
    trap '' INT TERM
    for pid in $writer $agent "${consumers[@]}"; do
        end "$pid"
    done
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'stop=1' INT TERM

say() { printf '%s%s%s\n' "$bold" "$1" "$plain"; }

fail() {
    printf '%sdemo: %s%s\n' "$red" "$1" "$plain" >&2
    [ -s "$log" ] && { echo "The last lines of splashdam's log:"; tail -n 15 "$log"; } >&2
    exit 1
}

# ---- what is tailed ----

# The embedded broker is memory: it holds the last 5 MiB of a partition. A package log larger than that is left out.
package_logs() {
    for file in /var/log/dpkg.log /var/log/apt/*.log; do
        [ -r "$file" ] && [ -s "$file" ] && [ "$(stat -c %s "$file")" -lt 2000000 ] && echo "$file"
    done
    return 0
}

lines_of() { # FILE …: complete lines in all of them
    [ $# -eq 0 ] && echo 0 || cat -- "$@" | wc -l
}

# An application's log: some 20 JSON lines a second, rotated by renaming every 80 lines, as logrotate does.
write_application_log() {
    trap 'exit 0' TERM
    local levels=(info debug info info warn debug info error)
    local texts=("order paid" "cache lookup" "user signed in" "page served" "slow query" "socket opened" "mail sent" "payment refused")
    for ((n = 1; ; n++)); do
        printf '{"level":"%s","msg":"%s","request":%d,"ms":%d,"time":"%(%FT%T%z)T"}\n' \
            "${levels[n % 8]}" "${texts[n % 8]}" "$n" $((n * 7919 % 400)) -1 >>"$dir/app.log"
        if ((n % 80 == 0)); then
            mv "$dir/app.log" "$dir/app.log.$((n / 80))"
        fi
        sleep 0.05
    done
}

write_config() {
    cat >"$dir/demo.yaml" <<END
agent: {id: demo, state: $dir/state}
kafka: {brokers: embedded}
streams:
  packages:
    tail: {paths: [$1], start: beginning}
    chain:
      - parse_regex:
          when: 'log.file.path ~ "dpkg"'
          pattern: '^(?<time>\S+ \S+) (?<action>\S+) (?<message>.*)\$'
    ship: {topic: $packages}
  application:
    tail: {paths: [$dir/app.log], start: beginning}
    chain:
      - parse_json: {}
      - drop: {when: 'level == "debug"'}
    ship: {topic: $application}
END
}

# ---- what is shown ----

# The fields that every record begins with are shown once, in the first record of each topic.
declare -A seen_first=()
shared_fields='("@timestamp"|"host\.name"|"log\.file\.path"|"log\.offset"):("[^"]*"|[0-9]+),?'

print_record() { # TOPIC COLOUR LINE
    local head room
    printf -v head '%-17s ' "$1"
    room=$((width - ${#head}))
    if [ -z "${seen_first[$1]:-}" ]; then
        seen_first[$1]=1
        printf '%s%s%s%s\n' "$2" "$head" "$plain" "$3"
        return
    fi
    local text=$3
    while [[ $text =~ $shared_fields ]]; do
        text=${text/"${BASH_REMATCH[0]}"/}
    done
    text="{… ${text#\{}"
    printf '%s%s%s%s\n' "$2" "$head" "$plain" "${text:0:room}"
}

# The complete new lines of an open file, in the array `fresh`; a line without its end waits in `begun`.
# Starts no process: Ctrl-C, which reaches all of the terminal's, cannot make it lose a line.
read_fresh() { # DESCRIPTOR
    local last
    mapfile fresh <&"$1"
    ((${#fresh[@]} > 0)) || return 1
    fresh[0]=${begun[$1]:-}${fresh[0]}
    begun[$1]=''
    last=$((${#fresh[@]} - 1))
    if [[ ${fresh[last]} != *$'\n' ]]; then
        begun[$1]=${fresh[last]}
        unset "fresh[last]"
    fi
    fresh=("${fresh[@]%$'\n'}")
    ((${#fresh[@]} > 0))
}
declare -A begun=()

show_received() { # TOPIC COLOUR
    local i
    read_fresh "${descriptor[$1]}" || return 1
    received[$1]=$((received[$1] + ${#fresh[@]}))
    for ((i = 0; i < ${#fresh[@]} && i < shown_at_once[$1]; i++)); do
        print_record "$1" "$2" "${fresh[i]}"
    done
    if ((${#fresh[@]} > shown_at_once[$1])); then
        printf '%s%-17s … and %d more%s\n' "$2$dim" "$1" $((${#fresh[@]} - shown_at_once[$1])) "$plain"
    fi
}

# What the agent says of rotations, and all that it warns of.
show_agent_log() {
    local line text
    read_fresh "${descriptor[log]}" || return 1
    for line in "${fresh[@]}"; do
        case $line in
        *' info account:'*) ;;
        *' warn '* | *' error '*) text=$yellow${line#* } ;;
        *rotat* | *renamed* | *truncat* | *'new file'*) text=$cyan${line#* } ;;
        *) continue ;;
        esac
        [ -n "${text:-}" ] && printf '%-17s %s%s\n' "splashdam" "${text:0:width}" "$plain"
        text=''
    done
}

show_all() {
    local any=1
    show_received "$packages" "$blue" && any=0
    show_received "$application" "$green" && any=0
    show_agent_log && any=0
    return $any
}

# ---- the account ----

# The value NAME=… of a stream's last account line; 0 where there is none.
account() { # STREAM NAME
    sed -n "s/.* account: stream=$1 .*\b$2=\([0-9]*\).*/\1/p" "$log" | tail -n 1 | grep . || echo 0
}

# True when every line written was read, nothing is in flight, and the consumers have all that was delivered.
caught_up() {
    kill -USR1 "$agent" 2>/dev/null || return 1
    sleep 0.2
    show_all
    [ "$(account application read)" -eq "$(application_lines)" ] &&
        [ "$(account packages read)" -ge "$package_lines" ] &&
        [ "$(account application in_flight)" -eq 0 ] && [ "$(account packages in_flight)" -eq 0 ] &&
        [ "$(account application delivered)" -eq "${received[$application]}" ] &&
        [ "$(account packages delivered)" -eq "${received[$packages]}" ]
}

application_lines() { lines_of "$dir"/app.log*; }

print_account() {
    local format='%-13s %10s %10s %10s %10s %10s %10s %10s\n' stream topic written read delivered dropped discarded in_flight ok bad=0
    echo
    say "The account (lines)"
    # shellcheck disable=SC2059
    printf "$dim$format$plain" stream 'in files' read delivered dropped discarded 'in flight' received
    for stream in packages application; do
        topic=demo.$stream
        for name in read delivered dropped discarded in_flight; do
            printf -v "$name" %s "$(account "$stream" "$name")"
        done
        if [ "$stream" = packages ]; then
            written=$(lines_of "${files[@]}") # dpkg may have been at work meanwhile
            ok=$((package_lines <= read && read <= written))
        else
            written=$(application_lines)
            ok=$((read == written))
        fi
        # shellcheck disable=SC2059
        printf "$format" "$stream" "$written" "$read" "$delivered" "$dropped" "$discarded" "$in_flight" "${received[$topic]}"
        if ! ((ok && in_flight == 0 && read == delivered + dropped + discarded && delivered == received[$topic])); then
            bad=1
            printf '%s^ does not balance%s\n' "$red" "$plain"
        fi
    done
    echo
    if ((bad)); then
        printf '%sLines are missing from the account.%s\n' "$red" "$plain"
        return 1
    fi
    printf '%sread = delivered + dropped + discarded + in flight, and received = delivered: no line is missing.%s\n' "$green" "$plain"
}

# ---- the main job ----

mapfile -t files < <(package_logs)
package_lines=$(lines_of "${files[@]}")
mkdir "$dir/state"
: >"$dir/app.log"
write_config "$(IFS=,; [ ${#files[@]} -gt 0 ] && echo "${files[*]}" || echo /var/log/dpkg.log)"

say "1. splashdam tails these files and ships them to its embedded Kafka broker"
printf '   %-13s %s (%d lines), the package manager'\''s log of this machine\n' packages "${files[*]:-/var/log/dpkg.log}" "$package_lines"
printf '   %-13s %s, written while you watch, rotated every 4 s; its debug lines are dropped\n' application "$dir/app.log"

# In a session of its own, Ctrl-C reaches only this script, which then ends everything in order.
setsid "$build/splashdam" run -c "$dir/demo.yaml" </dev/null >"$dir/agent.out" 2>"$log" &
agent=$!
bootstrap=''
for ((i = 0; i < patience * 10 && ${#bootstrap} == 0; i++)); do
    sleep 0.1
    bootstrap=$(sed -n 's/.*embedded broker listening.*bootstrap=\([0-9.:]*\).*/\1/p' "$log")
    kill -0 "$agent" 2>/dev/null || fail "splashdam ended"
    [ -z "$stop" ] || exit 130
done
[ -n "$bootstrap" ] || fail "splashdam did not start its embedded broker"

exec {fd}<"$log"
descriptor[log]=$fd
for topic in "$packages" "$application"; do
    : >"$dir/$topic"
    setsid kcat -C -q -u -b "$bootstrap" -t "$topic" -o beginning -X topic.metadata.refresh.interval.ms=1000 \
        -f '%s\n' </dev/null >"$dir/$topic" 2>"$dir/$topic.err" &
    consumers+=($!)
    exec {fd}<"$dir/$topic"
    descriptor[$topic]=$fd
done
write_application_log </dev/null >/dev/null 2>&1 &
writer=$!

echo
say "2. What a consumer receives from $bootstrap (try it: kcat -C -b $bootstrap -t $application)"
until_when=$((SECONDS + seconds))
while [ -z "$stop" ] && { [ "$seconds" -eq 0 ] || [ "$SECONDS" -lt "$until_when" ]; }; do
    sleep 0.25
    show_all
    kill -0 "$agent" 2>/dev/null || fail "splashdam ended"
done

echo
say "3. The writer stops; splashdam delivers what is left and ends"
end "$writer"
writer=''
until_when=$((SECONDS + patience))
until caught_up || [ "$SECONDS" -ge "$until_when" ]; do :; done
kill -TERM "$agent"
wait "$agent"
status=$?
trap '' INT TERM
agent=''
show_all
[ "$status" -eq 0 ] || fail "splashdam ended with status $status"
print_account
