"""Files that may be packed, and the text in them."""

import bz2
import codecs
import gzip
import lzma
import zlib
from pathlib import Path

_MAGIC = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
_SUFFIX = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_packed(path: Path) -> bytes:
    """What is in a file, unpacked if its name (.gz, .bz2, .xz) or its first bytes say that it is packed.

    Raises OSError, its text the reason alone, if the file cannot be read or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise type(error)(error.strerror or str(error)) from error
    unpack = _SUFFIX.get(path.suffix) or next((f for magic, f in _MAGIC.items() if data.startswith(magic)), None)
    try:
        return data if unpack is None else unpack(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise OSError(str(error)) from error


def decoded(data: bytes) -> str:
    """Text in UTF-8 or, if a byte order mark says so, in UTF-16; the mark and carriage returns are left out.

    Raises ValueError if it is no such text.
    """
    kind = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    return data.decode(kind).replace("\r\n", "\n").replace("\r", "\n")
