"""The library surface: open a dataset, query it, read images, get stored values back."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import radio_io
from radio_io.config import BuildConfig
from radio_io.dicom.quiet import quiet_pydicom
from radio_io.errors import DatasetError, QueryError
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from unit.dicom import make_dicom as make


def test_reads_every_image(built):
    data = radio_io.open_dataset(built.root)
    assert len(data) == built.summary.images == len(data.keys())
    assert [image.key for image in data.images("split = 'test'")] == data.keys("split = 'test'")
    for image in data.images("split = 'test'"):
        np.testing.assert_array_equal(image.pixels, data[image.key].pixels)
        assert image.pixels.shape == (image.metadata["rows"], image.metadata["columns"])
        assert image.pixels.dtype == np.uint16
        assert image.metadata["split"] == "test"


def test_answers_queries(built):
    data = radio_io.open_dataset(str(built.root))
    table = data.query("region = 'Knee'", "key, region, rows")
    assert table.column_names == ["key", "region", "rows"]
    assert set(table["region"].to_pylist()) == {"Knee"}
    assert table["key"].to_pylist() == data.keys("region = 'Knee'")
    assert data.query().num_rows == len(data)
    assert data.query("region = 'none'").num_rows == 0
    with pytest.raises(QueryError, match="unknown column 'rowz'"):
        data.query(columns="rowz")
    with pytest.raises(QueryError):
        data.keys("1=1) union all select")


def test_answers_several_at_a_time_and_beside_a_connection_of_others(built, tmp_path):
    root = tmp_path / "it's a dataset"
    shutil.copytree(built.root, root)
    data = radio_io.open_dataset(root)
    keys = data.keys()[:12]
    others = duckdb.connect(str(root / "index.duckdb"), read_only=True)
    with others, ThreadPoolExecutor(4) as pool:
        assert [image.key for image in pool.map(data.__getitem__, keys)] == keys
        first = next(data.images())
        assert first.key in data
        assert others.execute("SELECT count(*) FROM images").fetchall() == [(len(data),)]


def test_knows_its_keys(built):
    data = radio_io.open_dataset(built.root)
    key = next(iter(data))
    assert key in data
    assert "0" * 32 not in data
    assert "x' OR 1=1 --" not in data
    with pytest.raises(KeyError):
        data["0" * 32]


def test_describes_itself(built):
    data = radio_io.open_dataset(built.root)
    assert re.fullmatch(r"<Dataset '.*': \d+ images in \d+ shards, htj2k, bins .*>", repr(data))
    assert re.fullmatch(r"<Image [0-9a-f]{32}: \d+ x \d+, .*, (train|val|test)>", repr(data[data.keys()[0]]))
    assert "open_dataset" in dir(radio_io)
    with pytest.raises(AttributeError, match="open_dataset"):
        radio_io.open_shards  # noqa: B018


def test_refuses_a_folder_without_a_dataset(tmp_path):
    with pytest.raises(DatasetError, match="no dataset"):
        radio_io.open_dataset(tmp_path)


def test_refuses_changed_bytes(tmp_path):
    build(tmp_path, [make.dataset_of(make.picture(), bits=12)])
    data = radio_io.open_dataset(tmp_path / "d")
    (key,) = data.keys()
    row = data[key].metadata
    path = DatasetLayout(tmp_path / "d").tar_path(row["shard_id"])
    content = bytearray(path.read_bytes())
    content[row["image_offset"] + row["image_size"] // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="CRC-32"):
        data[key]


def build(folder, datasets, syntax=make.EXPLICIT, **options):
    (folder / "src").mkdir()
    for number, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        (folder / "src" / f"{number}.dcm").write_bytes(make.file_of(dataset, syntax))
    config = BuildConfig(
        dataset=folder / "d", sources=(str(folder / "src"),), modalities=None, workers=0, codec="fast", **options
    )
    return build_dataset(config, NoProgress())


@given(
    bits=st.integers(2, 16),
    signed=st.booleans(),
    slope=st.sampled_from(["1", "-1", "-10", "0.25", "3"]),
    intercept=st.sampled_from(["0", "-1024", "17.5"]),
    monochrome1=st.booleans(),
    kind=st.sampled_from(["native", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k", "rle"]),
    codec=st.sampled_from(["fast", "htj2k"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gives_stored_values_back_exactly(
    tmp_path_factory, bits, signed, slope, intercept, monochrome1, kind, codec, seed
):
    pixels = make.picture(70, 60, bits=bits, signed=signed, seed=seed, noise=0.02)
    attributes = {
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "PhotometricInterpretation": "MONOCHROME1" if monochrome1 else "MONOCHROME2",
    }
    syntax = make.EXPLICIT
    if kind != "native":
        syntax = {
            "jpeg_lossless": make.LOSSLESS_SV1,
            "jpeg_ls": make.JPEG_LS,
            "jpeg_2000": make.JPEG_2000,
            "htj2k": make.HTJ2K,
            "rle": make.RLE,
        }[kind]
        attributes["frames"] = [make.encode(pixels, kind)]
    folder = tmp_path_factory.mktemp("round")
    (folder / "src").mkdir()
    file = folder / "src" / "a.dcm"
    file.write_bytes(make.file_of(make.dataset_of(pixels, bits=bits, **attributes), syntax))
    config = BuildConfig(dataset=folder / "d", sources=(str(folder / "src"),), modalities=None, workers=0, codec=codec)
    summary = build_dataset(config, NoProgress())
    assert summary.images == 1, summary.rejects
    data = radio_io.open_dataset(folder / "d")
    image = data[data.keys()[0]]
    np.testing.assert_array_equal(image.stored_values(), pixels)
    if kind == "native":  # pydicom's decoders of compressed pixels end the process on some of these
        with quiet_pydicom():
            np.testing.assert_array_equal(image.stored_values(), pydicom.dcmread(file).pixel_array)
