#!/usr/bin/env python3
"""What agent-overhead.sh has recorded, as one JSON object; and the scrapes of the peer, on a beat.

overhead.py cpu PID              the CPU that a process has used, all its threads, in nanoseconds
overhead.py scrape PERIOD FILE    asks the exporter of this host every PERIOD seconds; a line each: when, seconds, vms, figures
overhead.py report FOLDER MOVED   the folder's turns, memory, moves, scrapes and telemetry.csv; MOVED is the vm that moved
"""
import collections
import csv
import json
import os
import re
import statistics
import sys
import time
import urllib.request

EXPORTER = "http://127.0.0.1:9177/metrics"
NOT_FIGURES = {"received_at_unix_nanos", "taken_at_unix_nanos", "host", "seq", "vm", "estimated"}


def scrape(period, path):
    beat = time.monotonic()
    while True:
        began, clock = time.monotonic(), time.time_ns()
        vms, lines = set(), 0
        try:
            for line in urllib.request.urlopen(EXPORTER, timeout=60).read().decode().splitlines():
                domain = re.match(r'libvirt_[^{]*{.*domain="([^"]*)"', line)
                if domain:
                    vms.add(domain.group(1))
                    lines += 1
        except OSError as error:
            print("scrape:", error, file=sys.stderr)
        with open(path, "a") as file:
            print(clock, f"{time.monotonic() - began:.3f}", len(vms), lines, file=file)
        beat = max(beat + period, time.monotonic())
        time.sleep(max(0.0, beat - time.monotonic()))


def cpu(process):
    # The clock of another process, clock_getcpuclockid(3): its number, inverted, and 2 for the scheduler's own account.
    return time.clock_gettime_ns((~process << 3) | 2)


def rows(path):
    return [line.split() for line in open(path)] if os.path.exists(path) else []


def shares(turns):
    """Of each who reads, by round: CPU of its own and of libvirtd, percent of a core."""
    found = collections.defaultdict(list)
    for who, began, ended, libvirtd, own in turns:
        seconds = (int(ended) - int(began)) / 1e9
        found[who].append((int(own) / seconds / 1e7, int(libvirtd) / seconds / 1e7))
    return found


def gap(taken, since, until):
    """The longest time between two figures of one vm, of those that ended within a span, and when it began in it: seconds."""
    found = [
        ((now - then) / 1e9, (then - since) / 1e9)
        for times in taken.values()
        for then, now in zip(times, times[1:])
        if then >= since and now <= until
    ]
    return [round(value, 2) for value in max(found, default=(float("nan"), float("nan")))]


def report(folder, moved):
    turns = rows(f"{folder}/turns")
    told = [row for row in csv.DictReader(open(f"{folder}/telemetry.csv")) if row["vm"]]
    taken = collections.defaultdict(list)
    for row in told:
        if row["cpu_used_cores"] and row["vm"] != moved:
            taken[row["vm"]].append(int(row["taken_at_unix_nanos"]))
    moves = [int(line[0]) for line in rows(f"{folder}/moves")]
    last = [turn for turn in turns if turn[0] == "agent"][-1]
    scrapes = [(int(at), float(took), int(vms), int(lines)) for at, took, vms, lines in rows(f"{folder}/scrapes")]
    out = {
        "vms_with_figures": len(taken) + 1,
        "figures_per_vm_agent": max(sum(1 for name, value in row.items() if value and name not in NOT_FIGURES) for row in told),
        "moves": len(moves) - 1,
        "seconds_of_moves": round((moves[-1] - moves[0]) / 1e9),
        "longest_gap_before_seconds_and_when": gap(taken, int(last[1]), moves[0]),
        "longest_gap_while_moving_seconds_and_when": gap(taken, moves[0], moves[-1] + int(1e10)),
    }
    if scrapes:
        at_rest = [one for one in scrapes if one[0] < moves[0]]
        moving = [one for one in scrapes if one[0] >= moves[0]]
        most = max(vms for _, _, vms, _ in at_rest)
        out |= {
            "figures_per_vm_exporter": max(lines // vms for _, _, vms, lines in at_rest if vms),
            "exporter_scrapes_while_moving": len(moving),
            "exporter_scrapes_without_all_that_stay": sum(1 for one in moving if one[2] < most - 1),
            "exporter_longest_scrape_seconds": max((one[1] for one in moving), default=None),
        }
    found = shares(turns)
    nobody = [libvirtd for _, libvirtd in found["nobody"]]
    out["libvirtd_cpu_percent_nobody"] = round(statistics.median(nobody), 2)
    for who, whole, own in rows(f"{folder}/memory"):
        out[f"{who}_resident_mib"], out[f"{who}_private_mib"] = round(int(whole) / 1024, 1), round(int(own) / 1024, 1)
        out[f"{who}_cpu_percent"] = round(statistics.median(own for own, _ in found[who]), 3)
        theirs = [libvirtd - alone for (_, libvirtd), alone in zip(found[who], nobody)]
        out[f"{who}_libvirtd_cpu_percent"] = round(statistics.median(theirs), 2)
        out[f"{who}_rounds"] = [[round(own, 3), round(libvirtd, 2)] for own, libvirtd in found[who]]
    began, ended = rows(f"{folder}/both")
    seconds = (int(ended[0]) - int(began[0])) / 1e9
    for who, then, now in zip(["agent", "exporter"], began[1:], ended[1:]):
        out[f"{who}_cpu_percent_while_moving"] = round((int(now) - int(then)) / seconds / 1e7, 3)
    print(json.dumps(out))


if sys.argv[1] == "scrape":
    scrape(float(sys.argv[2]), sys.argv[3])
elif sys.argv[1] == "cpu":
    print(cpu(int(sys.argv[2])))
else:
    report(*sys.argv[2:])
