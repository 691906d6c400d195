#!/usr/bin/env bash
# What the agent costs its host, and whether a migration blinds it: COUNT idle vms on one real libvirt host, an agent
# that samples them every 5 seconds, and one vm that moves away while it does.
#
#   tests/lab/agent-overhead.sh [COUNT] [SECONDS]     20 vms and 60 seconds unless said otherwise
#
# Builds the release programs, needs root and what `lab.sh deps` installs. Prints one JSON object: the agent's resident
# memory (whole, and private to it), its CPU and libvirtd's as a share of one core, and from the scheduler's own record
# the longest time between two fresh figures of a vm that stayed, during the migration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

COUNT=${1:-20}
SPAN=${2:-60}
export LAB=${LAB:-${TMPDIR:-/tmp}/ballast-lab-overhead} LAB_HOST=ovh LAB_NET=10.76.0
SOURCE=ovh1
BIN=${CARGO_TARGET_DIR:-target}/release
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

[[ -n ${BALLAST_BUILT:-} ]] || cargo build --release --locked -q -p ballast-agent -p ballast-scheduler
lab down
lab up 2
lab guests "$SOURCE" "$COUNT" 64 0

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
lab in "$SOURCE" "$BIN/ballast-scheduler" --config "$RUN/scheduler.toml" run > "$RUN/scheduler.log" 2>&1 &
pids+=($!)
lab in "$SOURCE" "$BIN/ballast-agent" --config "$RUN/agent.toml" run > "$RUN/agent.log" 2>&1 &
agent=$!
pids+=("$agent")
libvirtd=$(cat "$LAB/$SOURCE/libvirtd.pid")

sleep 30   # until the vms have booted and the agent has settled: a measurement, not a wait for an event
kill -0 "$agent" || { cat "$RUN/agent.log" >&2; exit 1; }
agent_before=$(cpu "$agent")
libvirtd_before=$(cpu "$libvirtd")
sleep "$SPAN"
agent_after=$(cpu "$agent")
libvirtd_after=$(cpu "$libvirtd")
resident=$(field "$agent" VmRSS status)
private=$(field "$agent" RssAnon status)

# The migration itself is libvirt's; the agent is not told, which is the harder case.
began=$(date +%s%N)
lab virsh "$SOURCE" migrate --live --p2p --persistent --undefinesource idle1 "$(lab migration-uri ovh2)"
moved=$(($(date +%s%N) - began))
sleep 12   # two more periods
late=$(grep -c "did not give the vms' counters" "$RUN/agent.log" || true)

python3 - "$COUNT" "$SPAN" "$agent_before" "$agent_after" "$libvirtd_before" "$libvirtd_after" "$resident" "$private" \
  "$moved" "$late" <<'PYTHON'
import json, sys
count, span, a0, a1, l0, l1, rss, anon, moved, late = (float(value) for value in sys.argv[1:])
print(json.dumps({
    "vms": int(count),
    "seconds": span,
    "agent_resident_mib": round(rss / 1024, 1),
    "agent_private_mib": round(anon / 1024, 1),
    "agent_cpu_percent_of_core": round((a1 - a0) / span, 2),
    "libvirtd_cpu_percent_of_core": round((l1 - l0) / span, 2),
    "migration_seconds": round(moved / 1e9, 1),
    "ticks_without_counters": int(late),
}))
PYTHON
