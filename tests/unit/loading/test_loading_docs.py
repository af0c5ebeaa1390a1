"""The code in docs/loading.md runs as it stands, and gives the images of the shards."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from loading_collect import expected_patches
from radio_io.layout import DatasetLayout
from radio_io.loading.pack_images import cut_into

pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
DOCS = Path(__file__).resolve().parents[3] / "docs/loading.md"


def test_the_plain_dali_pipeline_gives_the_images(sharded, table, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    path = Path(sharded.root) / "example.py"
    path.write_text(block, encoding="utf-8")  # DALI reads the source of the function
    names: dict = {}
    exec(compile(block, str(path), "exec"), names)
    path.unlink()
    layout = DatasetLayout(sharded.root)
    shards = table.shard_ids
    pipeline = names["radiographs"](
        [str(layout.tar_path(s)) for s in shards], [str(layout.idx_path(s)) for s in shards]
    )
    pipeline.build()
    wanted = {table.key(row): row for row in range(len(table))}
    seen = set()
    for _ in range(-(-len(table) // 4)):
        images, metadata = pipeline.run()
        for number in range(4):
            pixels = np.asarray(images.at(number))[..., 0]
            key = json.loads(bytes(np.asarray(metadata.at(number))))["key"]
            if key not in wanted:
                continue
            assert pixels.dtype == np.uint16
            grid = -(-pixels.shape[0] // 16), -(-pixels.shape[1] // 16)
            patches = np.empty((grid[0] * grid[1], 256), np.uint16)
            cut_into(pixels, grid, 16, patches)
            assert (patches == expected_patches(sharded.root, table, wanted[key], 16)).all()
            seen.add(key)
    assert len(seen) > len(table) // 2
