#!/usr/bin/env bash
# What the agent costs its host, and whether a migration blinds it: COUNT idle vms on one real libvirt host, an agent
# that samples them every 5 seconds, and one vm that moves away while it does.
#
#   tests/lab/agent-overhead.sh [COUNT] [SECONDS]     20 vms and 60 seconds unless said otherwise
#
# Needs root and what `lab.sh deps` installs. Builds the release programs, unless BALLAST_AGENT and BALLAST_SCHEDULER
# name them. Prints one JSON object: the agent's resident memory (whole, and private to it), its CPU and libvirtd's as a
# share of one core, and from the scheduler's recorded telemetry the longest time between two CPU figures of any vm that
# stayed, before and during the migration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

COUNT=${1:-20}
SPAN=${2:-60}
export LAB=${LAB:-${TMPDIR:-/tmp}/ballast-lab-overhead} LAB_HOST=ovh LAB_NET=10.76.0
SOURCE=ovh1
RUN=$(mktemp -d)
pids=()

finish() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  tests/lab/lab.sh down
  rm -rf "$RUN"
}
trap finish EXIT

lab() { tests/lab/lab.sh "$@"; }

# CPU a process has used, in hundredths of a second.
cpu() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

field() { awk -v name="$2:" '$1 == name {print $2}' "/proc/$1/$3"; }

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
period_seconds = 5.0
log = "info"
[libvirt]
uri = "$(lab uri "$SOURCE")"
migration_uri = "$(lab migration-uri "$SOURCE")"
[host]
cpu_accounting = "vms"
TOML
# By the script's name and not through a function: the process id is then the program's own.
tests/lab/lab.sh in "$SOURCE" "$SCHEDULER" --config "$RUN/scheduler.toml" run > "$RUN/scheduler.log" 2>&1 &
scheduler=$!
pids+=("$scheduler")
tests/lab/lab.sh in "$SOURCE" "$AGENT" --config "$RUN/agent.toml" run > "$RUN/agent.log" 2>&1 &
agent=$!
pids+=("$agent")
libvirtd=$(cat "$LAB/$SOURCE/libvirtd.pid")

for number in $(seq "$COUNT"); do lab wait-ping "$LAB_NET.$((99 + number))" 600; done
sleep 20   # four periods for the agent to settle: a measurement, not a wait for an event
kill -0 "$agent" || { cat "$RUN/agent.log" >&2; exit 1; }
agent_before=$(cpu "$agent")
libvirtd_before=$(cpu "$libvirtd")
sleep "$SPAN"
agent_after=$(cpu "$agent")
libvirtd_after=$(cpu "$libvirtd")
resident=$(field "$agent" VmRSS status)
private=$(field "$agent" RssAnon status)

# The migration itself is libvirt's; the agent is not told, which is the harder case.
moved_vm=$(lab virsh "$SOURCE" domuuid idle1)
began=$(date +%s%N)
lab virsh "$SOURCE" migrate --live --p2p --persistent --undefinesource idle1 "$(lab migration-uri ovh2)"
ended=$(date +%s%N)
sleep 12   # two more periods
kill "$scheduler"
wait "$scheduler" || true
"$SCHEDULER" export "$RUN"/scheduler/telemetry/* > "$RUN/telemetry.csv"

python3 - "$COUNT" "$SPAN" "$agent_before" "$agent_after" "$libvirtd_before" "$libvirtd_after" "$resident" "$private" \
  "$began" "$ended" "${moved_vm//[[:space:]]/}" "$RUN/telemetry.csv" <<'PYTHON'
import csv, json, sys
count, span, a0, a1, l0, l1, rss, anon, began, ended = (float(value) for value in sys.argv[1:11])
moved, path = sys.argv[11:]
taken = {}
for row in csv.DictReader(open(path)):
    if row["vm"] and row["vm"] != moved and row["cpu_used_cores"]:
        taken.setdefault(row["vm"], []).append(int(row["taken_at_unix_nanos"]))
# What was before the measured span, while the vms booted, does not count.
since = began - (span + 5) * 1e9
before, during = [], []
for times in taken.values():
    for then, now in zip(times, times[1:]):
        if then >= since:
            (during if now >= began and then <= ended else before).append((now - then) / 1e9)
print(json.dumps({
    "vms": int(count),
    "vms_with_figures": len(taken) + 1,
    "seconds": span,
    "agent_resident_mib": round(rss / 1024, 1),
    "agent_private_mib": round(anon / 1024, 1),
    "agent_cpu_percent_of_core": round((a1 - a0) / span, 2),
    "libvirtd_cpu_percent_of_core": round((l1 - l0) / span, 2),
    "migration_seconds": round((ended - began) / 1e9, 1),
    "longest_gap_before_seconds": round(max(before, default=float("nan")), 2),
    "longest_gap_during_migration_seconds": round(max(during, default=float("nan")), 2),
}))
PYTHON
