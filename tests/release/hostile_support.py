"""Archives that no packer writes and a stranger may send: a few bytes of an intact one are others."""

import gzip
import io
import tarfile

CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"
"""How an entry of a zip's directory begins, and the record at its end."""


def patched(wheel: bytes, begins: bytes, at: int, new: bytes) -> bytes:
    """A zip with other bytes at a place in the last record that begins so."""
    data, start = bytearray(wheel), wheel.rindex(begins) + at
    data[start : start + len(new)] = new
    return bytes(data)


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
