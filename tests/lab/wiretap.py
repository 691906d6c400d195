#!/usr/bin/env python3
"""Listens on a network interface and says, a few times a second, how many bytes went by to and from an address and how often a
text was among them: "BYTES FINDS" a line.

    wiretap.py INTERFACE ADDRESS TEXT
"""

import socket
import sys
import time

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
TELL_SECONDS = 0.3


def main() -> None:
    interface, address, text = sys.argv[1:]
    wanted, text = socket.inet_aton(address), text.encode()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # A copy comes faster than this reads: what waits here is not lost.
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    wire.bind((interface, 0))
    wire.settimeout(TELL_SECONDS)
    heard = finds = 0
    due = time.monotonic()
    while True:
        try:
            frame = wire.recv(1 << 17)
        except TimeoutError:
            frame = b""
        # Source and destination of an IPv4 packet.
        if wanted in (frame[26:30], frame[30:34]):
            heard += len(frame)
            finds += frame.count(text)
        if time.monotonic() >= due:
            print(heard, finds, flush=True)
            due = time.monotonic() + TELL_SECONDS


main()
