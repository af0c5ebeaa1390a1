"""Programs that know nothing of radio read its shards and index."""

import json
import tarfile
import zlib

import duckdb
import numpy as np
import pytest

from radio_io.codecs.registry import codec_of_extension
from radio_io.layout import DatasetLayout


def images_by_key(root):
    found = {}
    for path in sorted(root.glob("*/*/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jph"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found[member.name[:-4]] = codec_of_extension("jph").decode(file.read())
    return found


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_iterates_the_shards(built):
    webdataset = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(built.root.glob("*/*/*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(samples) == built.summary.images
    assert {key for sample in samples for key in sample if not key.startswith("__")} == {"jph", "json"}
    assert all(json.loads(sample["json"])["key"] == sample["__key__"] for sample in samples)


def test_dali_gives_the_same_pixels(built):
    fn = pytest.importorskip("nvidia.dali.fn")
    from nvidia.dali import pipeline_def, types

    ours = images_by_key(built.root)
    paths = sorted(built.root.glob("*/*/*.tar"))

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        image, text = fn.readers.webdataset(
            paths=[str(path) for path in paths],
            index_paths=[str(path.with_suffix(".idx")) for path in paths],
            ext=["jph", "json"],
            missing_component_behavior="error",
        )
        return fn.decoders.image(image, device="cpu", output_type=types.ANY_DATA, dtype=types.UINT16), text

    graph = pipeline()
    graph.build()
    for _ in range(len(ours)):
        image, text = graph.run()
        key = json.loads(bytes(np.array(text.at(0))))["key"]
        np.testing.assert_array_equal(np.array(image.at(0))[..., 0], ours.pop(key))
    assert not ours


def test_duckdb_joins_images_with_shards(built):
    with duckdb.connect(str(built.root / "index.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT i.key, s.path, i.image_offset, i.image_size, i.image_crc32, i.rows, i.columns "
            "FROM images i JOIN shards s USING (shard_id)"
        ).fetchall()
    assert len(rows) == built.summary.images
    ours = images_by_key(built.root)
    for key, path, offset, size, crc32, height, width in rows:
        with (built.root / path).open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        assert zlib.crc32(data) == crc32
        pixels = codec_of_extension("jph").decode(data)
        assert pixels.shape == (height, width)
        np.testing.assert_array_equal(pixels, ours[key])


def test_no_original_identifier_is_in_the_dataset(built):
    for path in built.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for planted in (b"Synthetic^Patient", b"SYN0000", b"1.2.826.0.1", str(built.export).encode()):
                assert planted not in data, path.name


def test_the_private_folder_is_private(built):
    layout = DatasetLayout(built.root)
    assert layout.private.stat().st_mode & 0o777 == 0o700
    assert layout.key_file.stat().st_mode & 0o777 == 0o600
