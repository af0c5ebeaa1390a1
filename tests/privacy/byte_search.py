"""Looks for texts in everything that lies in some folders, in every form they could have taken.

occurrences()  (file and view, text, form) for each text found: plain, UTF-16, hexadecimal, base64, or as an unkeyed
               hash; inside decompressed Parquet, DuckDB, tar members, decoded images, PNG, zip and gzip
"""

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import imagecodecs
import pyarrow.parquet as pq

from radio_io.codecs.registry import get_codec

HEX_RUN = re.compile(rb"[0-9a-f]{32,}")


def forms(text: str) -> dict[str, bytes]:
    """What a text becomes; letters in lower case but for base64."""
    raw, folded = text.encode(), text.lower().encode()
    found = {
        "plain": folded,
        "utf-16-le": text.lower().encode("utf-16-le"),
        "utf-16-be": text.lower().encode("utf-16-be"),
        "json": json.dumps(text.lower())[1:-1].encode(),
        "hex": raw.hex().encode(),
        "hex of utf-16": text.encode("utf-16-le").hex().encode(),
        "reversed": folded[::-1],
    }
    for spelling, content in (("", raw), (" of utf-16", text.encode("utf-16-le"))):
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + content)
            # The first and last characters mix with the neighbours.
            found[f"base64{spelling} at {shift}"] = coded[-(-shift * 8 // 6) : (shift + len(content)) * 8 // 6]
    return found


def digests(texts: Iterable[str]) -> dict[bytes, str]:
    """Unkeyed hashes of the texts, their first 32 hex digits."""
    kinds = ("md5", "sha1", "sha256", "sha512", "blake2b")
    return {hashlib.new(kind, text.encode()).hexdigest()[:32].encode(): text for text in texts for kind in kinds}


def occurrences(views: Iterable[tuple[str, bytes]], texts: Iterable[str], hashed: Iterable[str] = ()) -> list[str]:
    """A line for each text found in a view."""
    needles = {text: forms(text) for text in texts}
    hashes = digests([*needles, *hashed])
    found: list[str] = []
    for name, content in views:
        folded = content.lower()
        for text, shapes in needles.items():
            for form, needle in shapes.items():
                hay = content if form.startswith("base64") else folded
                place = hay.find(needle)
                if place >= 0:
                    found.append(f"{name}: {form} of {text!r}: {content[place : place + 60]!r}")
        for run in HEX_RUN.findall(folded):
            if run[:32] in hashes:
                found.append(f"{name}: unkeyed hash of {hashes[run[:32]]!r}")
    return found


def views_of(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """The bytes of a file, and what is inside of it."""
    yield from views_of_bytes(path.read_bytes(), name, path)


def views_of_bytes(content: bytes, name: str, path: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """`content`, and what is inside of it."""
    yield name, content
    if content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content))
        yield f"{name} [rows]", repr((table.schema.metadata, table.to_pydict())).encode()
    elif content[8:12] == b"DUCK" and path is not None:
        yield f"{name} [rows]", database_text(path)
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for each in archive.namelist():
                yield from views_of_bytes(archive.read(each), f"{name}/{each}")
    elif content[:2] == b"\x1f\x8b":
        yield from views_of_bytes(gzip.decompress(content), f"{name} [gzip]")
    elif content[:4] == b"\x89PNG":
        yield f"{name} [pixels]", imagecodecs.png_decode(content).tobytes()
    elif name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member)
                assert file is not None
                yield from views_of_bytes(file.read(), f"{name}/{member.name}")
    elif name.endswith((".jph", ".vdz")):
        codec = "htj2k" if name.endswith(".jph") else "fast"
        pixels = get_codec(codec).decode(content)
        yield f"{name} [pixels]", pixels.astype("<u2").tobytes()
        yield f"{name} [low bytes]", (pixels & 0xFF).astype("u1").tobytes()
        yield f"{name} [high bytes]", (pixels >> 8).astype("u1").tobytes()


def database_text(path: Path) -> bytes:
    """Every value, name and comment of a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = [connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables]
        names = connection.execute("SELECT * FROM duckdb_columns() WHERE NOT internal").fetchall()
    return repr((tables, names, rows)).encode()


def tree_views(folder: Path, *, leave_out: Iterable[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """All files below a folder but those of `leave_out`, and their names."""
    skipped = [each.resolve() for each in leave_out]
    for path in sorted(folder.rglob("*")):
        if any(path.resolve().is_relative_to(each) for each in skipped):
            continue
        name = path.relative_to(folder).as_posix()
        yield "the name of a file", name.encode()
        if path.is_file():
            yield from views_of(path, name)
