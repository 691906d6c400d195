#!/usr/bin/env bash
# What the agent costs its host beside a peer, and whether migrations blind it: COUNT idle vms on one real libvirt host, read
# every 5 seconds by turns by nobody, by Debian's prometheus-libvirt-exporter (where it is installed) and by an agent. Then one
# vm moves to another host and back for as long as is said, while both read.
#
#   tests/lab/agent-overhead.sh [COUNT] [SECONDS] [ROUNDS] [MOVING]
#
# 20 vms, turns of 45 seconds, 3 rounds of turns and 60 seconds of moves unless said otherwise. Needs root and what `lab.sh
# deps` installs. Builds the release programs, unless BALLAST_AGENT and BALLAST_SCHEDULER name them. Prints one JSON object:
# what both hold of memory (whole, and private to them), their CPU and that of libvirtd which is theirs, as a share of one
# core (medians of the rounds), how many figures of a vm each tells, and the longest time between two CPU figures of any vm
# that stayed, before and during the moves. overhead.py reckons that. BALLAST_OVERHEAD_KEEP=1 keeps logs and records,
# BALLAST_AGENT_LOG is what the agent logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

COUNT=${1:-20}
SPAN=${2:-45}
ROUNDS=${3:-3}
MOVING=${4:-60}
PERIOD=5
SETTLE=$((2 * PERIOD))
export LAB=${LAB:-${TMPDIR:-/tmp}/ballast-lab-overhead} LAB_HOST=ovh LAB_NET=10.76.0
SOURCE=ovh1
DESTINATION=ovh2
RUN=$(mktemp -d)
pids=()
agent= scraper= exporter=

finish() {
  local pid
  for pid in "${pids[@]}" $agent $scraper; do kill "$pid" 2>/dev/null || true; done
  tests/lab/lab.sh down
  if [[ -n ${BALLAST_OVERHEAD_KEEP:-} ]]; then echo "kept: $RUN" >&2; else rm -rf "$RUN"; fi
}
trap finish EXIT

lab() { tests/lab/lab.sh "$@"; }

# CPU a process has used, in nanoseconds: what /proc tells has steps of ten milliseconds, three cycles of the agent.
cpu() { python3 tests/lab/overhead.py cpu "$1"; }

# Memory of a process, KiB: whole, and private.
memory() { awk '$1 == "VmRSS:" {whole = $2} $1 == "RssAnon:" {own = $2} END {print whole, own}' "/proc/$1/status"; }

# Programs are started by the script's name and not through a function: the process id is then the program's own.
start_agent() {
  tests/lab/lab.sh in "$SOURCE" "$AGENT" --config "$RUN/agent.toml" run >> "$RUN/agent.log" 2>&1 &
  agent=$!
}

stop() { kill "$1"; wait "$1" 2>/dev/null || true; }

start_scraper() {
  tests/lab/lab.sh in "$SOURCE" python3 "$PWD/tests/lab/overhead.py" scrape "$PERIOD" "$RUN/scrapes" &
  scraper=$!
}

# A turn: who reads, the seconds, CPU of libvirtd, and CPU of who reads (its process id, where it is somebody).
turn() {  # WHO [PID]
  local began libvirtd_began own_began=0 own_ended=0
  sleep "$SETTLE"   # a measurement, not a wait for an event
  [[ -z ${2:-} ]] || own_began=$(cpu "$2")
  libvirtd_began=$(cpu "$libvirtd")
  began=$(date +%s%N)
  sleep "$SPAN"
  [[ -z ${2:-} ]] || own_ended=$(cpu "$2")
  echo "$1 $began $(date +%s%N) $(($(cpu "$libvirtd") - libvirtd_began)) $((own_ended - own_began))" | tee -a "$RUN/turns" >&2
}

turns() {
  turn nobody
  if [[ -n $exporter ]]; then
    start_scraper
    turn exporter "$exporter"
    stop "$scraper"
    scraper=
  fi
  start_agent
  turn agent "$agent"
  kill -0 "$agent" || { cat "$RUN/agent.log" >&2; exit 1; }
}

# What both have used so far, while both read.
note_cpu() { echo "$(date +%s%N) $(cpu "$agent") $([[ -z $exporter ]] || cpu "$exporter")" >> "$RUN/both"; }

# The migrations themselves are libvirt's; the agent is not told, which is the harder case.
moves() {
  local from=$SOURCE to=$DESTINATION until=$((SECONDS + MOVING))
  while ((SECONDS < until)); do
    lab virsh "$from" migrate --live --p2p --persistent --undefinesource idle1 "$(lab migration-uri "$to")"
    date +%s%N >> "$RUN/moves"
    read -r from to <<< "$to $from"
  done
}

if [[ -z ${BALLAST_AGENT:-} || -z ${BALLAST_SCHEDULER:-} ]]; then
  cargo build --release --locked -q -p ballast-agent -p ballast-scheduler
fi
AGENT=${BALLAST_AGENT:-${CARGO_TARGET_DIR:-target}/release/ballast-agent}
SCHEDULER=${BALLAST_SCHEDULER:-${CARGO_TARGET_DIR:-target}/release/ballast-scheduler}
lab down
lab up 2
lab guests "$SOURCE" "$COUNT" 80 0

# Without TLS a scheduler listens on loopback alone, and a host of the lab has a loopback of its own: so the scheduler
# runs where the host is.
cat > "$RUN/scheduler.toml" <<TOML
[scheduler]
listen = "127.0.0.1:7070"
data_dir = "$RUN/scheduler"
TOML
cat > "$RUN/agent.toml" <<TOML
[agent]
host = "$SOURCE"
scheduler = "http://127.0.0.1:7070"
data_dir = "$RUN/agent"
period_seconds = $PERIOD.0
log = "${BALLAST_AGENT_LOG:-info}"
[libvirt]
uri = "$(lab uri "$SOURCE")"
migration_uri = "$(lab migration-uri "$SOURCE")"
[host]
cpu_accounting = "vms"
TOML
tests/lab/lab.sh in "$SOURCE" "$SCHEDULER" --config "$RUN/scheduler.toml" run > "$RUN/scheduler.log" 2>&1 &
scheduler=$!
pids+=("$scheduler")
if command -v prometheus-libvirt-exporter > /dev/null; then
  tests/lab/lab.sh in "$SOURCE" prometheus-libvirt-exporter --web.listen-address=127.0.0.1:9177 \
    --libvirt.uri="$(lab uri "$SOURCE")" > "$RUN/exporter.log" 2>&1 &
  exporter=$!
  pids+=("$exporter")
fi
libvirtd=$(cat "$LAB/$SOURCE/libvirtd.pid")

for number in $(seq "$COUNT"); do lab wait-ping "$LAB_NET.$((99 + number))" 600; done
for number in $(seq "$ROUNDS"); do
  [[ -z $agent ]] || stop "$agent"
  turns
done
moved=$(lab virsh "$SOURCE" domuuid idle1)
[[ -z $exporter ]] || start_scraper
date +%s%N > "$RUN/moves"
note_cpu
moves
note_cpu
sleep $((2 * PERIOD + 2))
{ echo "agent $(memory "$agent")"; [[ -z $exporter ]] || echo "exporter $(memory "$exporter")"; } > "$RUN/memory"
stop "$scheduler"
"$SCHEDULER" export "$RUN"/scheduler/telemetry/* > "$RUN/telemetry.csv"
python3 tests/lab/overhead.py report "$RUN" "${moved//[[:space:]]/}"
