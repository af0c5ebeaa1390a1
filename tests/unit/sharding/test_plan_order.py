"""Sorting of plans: several processes of one build side by side, and what killed ones leave."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq

from radio_io.sharding import plan_order

ASKERS = 8


def test_many_ask_at_once_without_disturbing_each_other(tmp_path, monkeypatch):
    table = pa.table({"instance_key": ["a", "a", "b", "c", "c", "d"], "shard_id": ["1", "2", "1", "2", "2", None]})
    pq.write_table(table, tmp_path / "part.parquet")
    together = Barrier(ASKERS)
    connect = plan_order.duckdb.connect

    def connect_together(*arguments, **options):
        together.wait(20)  # all have made their folder, none has removed it
        return connect(*arguments, **options)

    monkeypatch.setattr(plan_order.duckdb, "connect", connect_together)
    with ThreadPoolExecutor(ASKERS) as threads:
        asked = [
            threads.submit(plan_order.instances_of_several_shards, tmp_path, ["part.parquet"]) for _ in range(ASKERS)
        ]
        assert [future.result() for future in asked] == [frozenset({"a"})] * ASKERS
    assert [path.name for path in tmp_path.iterdir()] == ["part.parquet"]
