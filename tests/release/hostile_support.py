"""Archives that no packer writes and a stranger may send: a few bytes of an intact one are others."""

import gzip
import io
import struct
import tarfile

CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"
"""How an entry of a zip's directory begins, and the record at its end."""


def patched(wheel: bytes, begins: bytes, at: int, new: bytes) -> bytes:
    """A zip with other bytes at a place in the last record that begins so."""
    data, start = bytearray(wheel), wheel.rindex(begins) + at
    data[start : start + len(new)] = new
    return bytes(data)


def two_directories(wheel: bytes) -> bytes:
    """A zip with a second directory, of zip64, which leaves the last member out.

    Python follows that one. It is the note of the last entry of the first one, which other programs follow.
    """
    size, offset = struct.unpack_from("<2L", wheel, len(wheel) - 10)
    *entries, last = [CENTRAL + each for each in wheel[offset : offset + size].split(CENTRAL)[1:]]
    second = b"".join(entries)
    counts = (len(entries), len(entries), len(second), offset + size)
    zip64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *counts)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size + len(second), 1)
    note = second + zip64 + locator
    first = second + last[:32] + struct.pack("<H", len(note)) + last[34:] + note
    end = struct.pack("<4s4H2LH", END, 0, 0, len(entries) + 1, len(entries) + 1, len(first), offset, 0)
    return wheel[:offset] + first + end


def with_header(member: str, **pax: str) -> bytes:
    """An sdist of one empty member with these extended headers, written down as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(member)
        info.pax_headers = pax
        archive.addfile(info)
    return gzip.compress(buffer.getvalue(), mtime=0)


def hostile(wheel: bytes) -> dict[str, bytes]:
    """An intact wheel in forms over which a careless reader stumbles."""
    return {
        "a date that is none": patched(wheel, CENTRAL, 12, bytes(4)),
        "a version nobody has": patched(wheel, CENTRAL, 6, b"\xff"),
        "a directory before the file": patched(wheel, END, 16, b"\xff\xff\xff\x7f"),
        "a compression nobody has": patched(wheel, CENTRAL, 10, b"\x63\x00"),
        "a name in no encoding": patched(patched(wheel, CENTRAL, 46, b"\xff"), CENTRAL, 9, b"\x08"),
        "more members than there are": patched(wheel, END, 8, b"\x09\x00\x09\x00"),
    }
