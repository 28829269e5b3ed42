"""Runs a command where there is no network but loopback, so that it can reach no address outside.

`unshare -rn python release/rehearsal/hosted/namespace.py COMMAND...`: a new network namespace of Linux has a
loopback interface that is down. This raises it, and becomes the command. It runs by itself, on the standard
library alone.
"""

import os
import socket
import struct
import sys
from collections.abc import Callable

__all__ = ["main", "raise_loopback"]

_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
"""SIOCGIFFLAGS and SIOCSIFFLAGS of Linux."""
_UP = 0x1
_REQUEST = "16sh22x"
"""struct ifreq: an interface's name and its flags."""

type Ioctl = Callable[[int, int, bytes], bytes]


def raise_loopback(ioctl: Ioctl) -> None:
    """Raise the interface `lo` of this process's network namespace."""
    with socket.socket() as any_socket:
        answer = ioctl(any_socket.fileno(), _GET_FLAGS, struct.pack(_REQUEST, b"lo", 0))
        name, flags = struct.unpack(_REQUEST, answer)
        ioctl(any_socket.fileno(), _SET_FLAGS, struct.pack(_REQUEST, name, flags | _UP))


def main(argv: list[str], *, ioctl: Ioctl, become: Callable[[str, list[str]], object] = os.execvp) -> None:
    """Raise loopback and become the command `argv`."""
    raise_loopback(ioctl)
    become(argv[0], argv)


if __name__ == "__main__":
    import fcntl

    main(sys.argv[1:], ioctl=fcntl.ioctl)
