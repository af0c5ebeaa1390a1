"""Builds that look for burned-in text."""

import io
import tarfile
from pathlib import Path

import duckdb
import numpy as np
import pytest

from radio_io.codecs.registry import get_codec
from radio_io.config import BuildConfig
from radio_io.errors import ConfigError, DatasetError
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from radio_io.sharding.verify import verify_dataset
from radio_io.synth.burned_text import BurnedText, burn_text
from radio_io.synth.phantom import PhantomRequest, draw_phantom
from unit.dicom.make_dicom import dataset_of, file_of

pytest.importorskip("rapidocr", reason="needs the extra `text`")
NAME = BurnedText(text="Muster^Erika", size=24, down=0.0, right=0.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A plain image, one with a name, and a scanned film with a name; the first and the second are the same phantom."""
    folder = tmp_path_factory.mktemp("source")
    plain = draw_phantom(
        PhantomRequest(region="Hand", view="PA", side="L", rows=500, columns=400, bits=12, seed=(3, 2))
    )
    named = burn_text(plain, NAME, bits=12).pixels
    for number, (pixels, conversion) in enumerate(((plain, None), (named, None), (named, "DF"))):
        dataset = dataset_of(pixels, bits=12, SOPInstanceUID=f"1.2.{number}", ConversionType=conversion)
        (folder / f"{number}").write_bytes(file_of(dataset))
    return folder


def build(source, root, text, **options):
    return build_dataset(
        BuildConfig(dataset=root, sources=(str(source),), workers=0, text=text, **options), NoProgress()
    )


def rows(root):
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        sql = "SELECT burned_in_annotation, text_score, masked_boxes FROM images ORDER BY 2, 1"
        return connection.execute(sql).fetchall()


def test_without_the_detector_the_score_is_empty(source, tmp_path):
    assert build(source, tmp_path / "d", "off").images == 3
    assert {row[1:] for row in rows(tmp_path / "d")} == {(None, None)}


def test_scores_images_and_leaves_out_a_scanned_film_with_text(source, tmp_path):
    summary = build(source, tmp_path / "d", "detect")
    assert summary.rejects == {"BURNED_IN_ANNOTATION": 1}
    plain, named = rows(tmp_path / "d")
    assert plain[1] < 0.8 <= named[1]
    assert (plain[2], named[2]) == (None, None)
    assert verify_dataset(tmp_path / "d", NoProgress(), workers=0).faults == []
    assert build(source, tmp_path / "e", "detect", allow_burned_in=True).images == 3


def test_masks_text_and_records_where(source, tmp_path):
    root = tmp_path / "d"
    assert build(source, root, "mask").images == 3
    found = rows(root)
    assert [len(boxes) for _, _, boxes in found] == [0, 4, 4]
    assert verify_dataset(root, NoProgress(), workers=0).faults == []
    row, column, height, width = found[1][2]
    images = []
    for path in root.glob("*/*/*.tar"):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
            images += [archive.extractfile(each).read() for each in archive if each.name.endswith(".jph")]
    pixels = [get_codec("htj2k").decode(image) for image in images]
    blank = [not each[row : row + height, column : column + width].any() for each in pixels]
    assert sorted(blank) == [False, True, True]
    plain = pixels[blank.index(False)]
    for each in (each for each, is_blank in zip(pixels, blank, strict=True) if is_blank):
        changed = np.argwhere(each != plain)
        assert changed[:, 0].max() < row + height
        assert changed[:, 1].max() < column + width


def test_a_dataset_is_masked_in_all_of_its_builds_or_in_none(source, tmp_path):
    build(source, tmp_path / "d", "off")
    with pytest.raises(DatasetError, match="text is off, asked for mask"):
        build(source, tmp_path / "d", "mask")
    with pytest.raises(ConfigError, match="text is 'blur'"):
        build(source, tmp_path / "d", "blur")
