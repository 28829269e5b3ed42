"""The helper for a network namespace: raises loopback, becomes the command."""

import os
import runpy
import struct
import sys
from types import SimpleNamespace

import pytest

from release.rehearsal.hosted import namespace


class Kernel:
    """Answers for one interface that is down, as an ioctl does."""

    def __init__(self) -> None:
        self.flags: dict[bytes, int] = {b"lo": 0x48}

    def __call__(self, number: int, request: int, argument: bytes) -> bytes:
        assert number > 0
        name, flags = struct.unpack("16sh22x", argument)
        short = name.rstrip(b"\0")
        if request == 0x8914:
            self.flags[short] = flags
        else:
            assert (request, flags) == (0x8913, 0), "a question says nothing of flags"
        return struct.pack("16sh22x", name, self.flags[short])


def test_loopback_is_raised_with_its_other_flags_kept() -> None:
    """IFF_UP is added to what the interface has."""
    kernel = Kernel()
    namespace.raise_loopback(kernel)
    assert kernel.flags == {b"lo": 0x49}


def test_it_becomes_the_command_once_loopback_is_up() -> None:
    """The command is not a child: its exit code and its signals are its own."""
    kernel, became = Kernel(), list[tuple[str, list[str]]]()

    def become(file: str, words: list[str]) -> None:
        assert kernel.flags == {b"lo": 0x49}
        became.append((file, words))

    namespace.main(["nox", "-s", "rehearse"], ioctl=kernel, become=become)
    assert became == [("nox", ["nox", "-s", "rehearse"])]


def test_it_runs_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """`unshare` starts it by its file, with the kernel's own ioctl."""
    kernel, became = Kernel(), list[tuple[object, ...]]()
    monkeypatch.setitem(sys.modules, "fcntl", SimpleNamespace(ioctl=kernel))

    def execvp(*words: object) -> None:
        became.append(words)

    monkeypatch.setattr(os, "execvp", execvp)
    monkeypatch.setattr(sys, "argv", [namespace.__file__, "true"])
    runpy.run_path(namespace.__file__, run_name="__main__")
    assert kernel.flags == {b"lo": 0x49}
    assert became == [("true", ["true"])]
