"""Not one flipped bit in a Parquet file of ours goes unnoticed."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radio_io.checked_table import encode_table, read_batches, read_metadata, read_table, table_writer
from radio_io.errors import DatasetError

SCHEMA = pa.schema([("path", pa.binary()), ("frame", pa.int32()), ("reason", pa.string())])
ROWS = 300


@pytest.fixture
def table():
    columns = {
        "path": [f"folder/{number}".encode() for number in range(ROWS)],
        "frame": list(range(ROWS)),
        "reason": [None if number % 3 else "DUPLICATE" for number in range(ROWS)],
    }
    return pa.table(columns, schema=SCHEMA.with_metadata({"num_images": "7"}))


@pytest.mark.parametrize("options", [{}, {"compression": "zstd", "use_dictionary": False}])
def test_refuses_a_flipped_bit_wherever_it_is(table, options):
    whole = encode_table(table, **options)
    assert read_table(whole).equals(table, check_metadata=True)
    generator = np.random.default_rng(0)
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(generator.integers(8))
        with pytest.raises(DatasetError, match=r"^part 3 is damaged, .*restore it from a copy"):
            read_table(bytes(flipped), name="part 3")


@pytest.mark.parametrize("left", [0, 1, 7, 8, 100, -1])
def test_refuses_a_file_that_was_cut(tmp_path, table, left):
    path = tmp_path / "part.parquet"
    path.write_bytes(encode_table(table)[:left])
    with pytest.raises(DatasetError, match=r"part\.parquet is damaged"):
        read_table(path)


def test_gives_columns_batches_and_metadata(tmp_path, table):
    path = tmp_path / "part.parquet"
    path.write_bytes(encode_table(table))
    assert read_table(path, ["frame"]).equals(table.select(["frame"]))
    batches = list(read_batches(path, rows=128))
    assert [len(batch) for batch in batches] == [128, 128, 44]
    assert pa.Table.from_batches(batches).equals(table)
    assert read_metadata(path)[b"num_images"] == b"7"
    assert pq.read_table(path).equals(table)  # as any other reader does


def test_the_same_rows_give_the_same_bytes_also_after_a_file(table):
    whole = encode_table(table)
    assert encode_table(read_table(whole)) == whole


def test_writes_part_by_part(table):
    buffer = io.BytesIO()
    with table_writer(buffer.write, SCHEMA) as writer:
        for batch in table.to_batches(max_chunksize=100):
            writer.write_table(pa.Table.from_batches([batch]).cast(SCHEMA))
            assert buffer.tell() > 0
    assert read_table(buffer.getvalue()).equals(table)


def test_rows_may_hold_the_text_of_a_checksum():
    table = pa.table({"path": ["sha256:" + "0" * 64]})
    assert read_table(encode_table(table, compression="none")).equals(table)


def test_says_what_is_missing_and_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.parquet is missing; run it again"):
        read_table(tmp_path / "gone.parquet", advice="run it again")


def test_refuses_a_file_without_a_checksum(tmp_path, table):
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(DatasetError, match=r"was not written by radio"):
        read_table(tmp_path / "other.parquet")
