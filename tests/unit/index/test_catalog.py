"""The index holds the images in the order of the shards, and what one image is among all others."""

import hashlib

import duckdb
import pyarrow as pa

from radio_io.index.catalog import build_index
from radio_io.index.records import record_schema, write_record
from radio_io.layout import DatasetLayout
from radio_io.sharding.write import shard_metadata


def write_made_record(layout, shard_id, rows):
    """A record of rows of (key, instance_key, pixel_hash); other columns are empty or zero."""
    columns = []
    for field in record_schema():
        given = {"key": 0, "instance_key": 1, "pixel_hash": 2}.get(field.name)
        if given is not None:
            values = [row[given] for row in rows]
        elif field.name == "shard_id":
            values = [shard_id] * len(rows)
        elif field.name == "image_offset":
            values = list(range(512, 512 * len(rows) + 1, 512))
        else:
            values = [None] * len(rows)
        columns.append(pa.array(values, field.type))
    table = pa.Table.from_arrays(columns, schema=record_schema())
    metadata = shard_metadata(shard_id, "htj2k", len(rows), 1024, hashlib.sha256().hexdigest())
    layout.record_path(shard_id).parent.mkdir(parents=True, exist_ok=True)
    write_record(layout.record_path(shard_id), table, metadata)


def test_order_conflicts_and_copies(tmp_path):
    layout = DatasetLayout(tmp_path / "d")
    write_made_record(layout, "val/h384w384/000000", [("k9", "i9", "p1"), ("k8", "i8", "p8")])
    write_made_record(layout, "train/h384w384/1000000", [("k5", "i1", "p5")])
    write_made_record(layout, "train/h384w384/000001", [("k4", "i4", "p1"), ("k3", "i3", "p1"), ("k2", "i1", "p2")])
    build_index(layout, [])
    with duckdb.connect(str(layout.index), read_only=True) as connection:
        rows = connection.execute("SELECT shard_id, key, uid_conflict, pixel_duplicate FROM images").fetchall()
        ordered = connection.execute("SELECT key FROM images ORDER BY shard_id, image_offset").fetchall()
        shards = connection.execute("SELECT shard_id FROM shards").fetchall()
    assert [(row[1],) for row in rows] == ordered
    assert shards == [("train/h384w384/000001",), ("train/h384w384/1000000",), ("val/h384w384/000000",)]
    assert {row[1] for row in rows if row[2]} == {"k2", "k5"}
    assert {row[1] for row in rows if row[3]} == {"k4", "k9"}
    assert len(rows) == 6
