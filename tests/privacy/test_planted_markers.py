"""Markers in every corner of an export, the whole pipeline, and a byte search over everything that leaves it."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydicom.datadict import keyword_for_tag

from privacy.byte_search import forms, occurrences, tree_views, views_of_bytes
from privacy.planted import (
    DIGITS,
    LONE_WORDS,
    MARKERS,
    NEEDED,
    STEM,
    everything,
    image_dataset,
    profile_tags,
    saved,
    write_planted_export,
)
from radio_io.config import BuildConfig
from radio_io.dicom.values import identifier
from radio_io.layout import DatasetLayout
from radio_io.privacy.attributes import ATTRIBUTES
from radio_io.progress import NoProgress
from radio_io.sharding import sample
from radio_io.sharding.build import build_dataset
from unit.dicom.make_dicom import EXPLICIT, picture

RADIO = str(Path(sys.executable).parent / "radio")
REVIEWED = Path(__file__).with_name("reviewed_attributes.txt")
SEVERAL = """
import json, sys
from pathlib import Path
from radio_cli.main import main
codes = []
for arguments in json.loads(sys.argv[1]):
    sys.argv, kept = ["radio", *arguments], sys.argv
    try:
        main()
        codes.append(0)
    except SystemExit as end:
        codes.append(end.code or 0)
    sys.argv = kept
Path(sys.argv[2]).write_text(json.dumps(codes))
"""


@dataclass
class Pipeline:
    """What a user's session leaves: a working folder, the export beside it, and everything that was printed."""

    work: Path
    export: Path
    good: int = 0
    bad: int = 0
    printed: dict[str, bytes] = field(default_factory=dict)

    @property
    def layout(self) -> DatasetLayout:
        return DatasetLayout(self.work / "shards")

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.work / "home"), "TMPDIR": str(self.work / "tmp"), "COLUMNS": "400"}

    def radio(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> bytes:
        done = subprocess.run(
            [RADIO, *arguments], capture_output=True, cwd=self.work, env=self.environment(), check=False
        )
        self.printed[f"{len(self.printed)} radio {' '.join(arguments)[:60]}"] = done.stdout + b"\n" + done.stderr
        assert done.returncode in codes, done.stderr.decode()
        return done.stdout

    def radios(self, *commands: tuple[int | str, ...]) -> None:
        """Several commands in one process, each with the exit code that it has to have."""
        arguments = json.dumps([list(command[1:]) for command in commands])
        done = subprocess.run(
            [sys.executable, "-c", SEVERAL, arguments, str(self.work / "codes")],
            capture_output=True,
            cwd=self.work,
            env=self.environment(),
            check=False,
        )
        self.printed[f"{len(self.printed)} several"] = done.stdout + b"\n" + done.stderr
        codes = json.loads((self.work / "codes").read_text())
        assert codes == [command[0] for command in commands], done.stderr.decode()

    def killed_build(self) -> None:
        """A build that dies with all its processes as soon as it begins to write."""
        with (self.work / f"killed{len(self.printed)}.log").open("wb") as log:
            command = [RADIO, "shard", "build", str(self.export), "--workers", "2"]
            process = subprocess.Popen(
                command, cwd=self.work, env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
            give_up_s = time.monotonic() + 30
            while not self.layout.root.exists() and process.poll() is None and time.monotonic() < give_up_s:
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def views(self):
        """Everything outside the private folder, and everything printed."""
        yield from tree_views(self.work, leave_out=[self.layout.private])
        for name, content in self.printed.items():
            yield from views_of_bytes(content, name)


def looked_for() -> list[str]:
    """The stems that all markers share, and the dates and times, which have none."""
    dates = [value for value in MARKERS.values() if re.fullmatch(r"[0-9.]+", value) and DIGITS not in value]
    iso = [f"{day[:4]}-{day[4:6]}-{day[6:8]}" for day in dates if re.fullmatch(r"(18|19|20)[0-9]{6}.*", day)]
    return [STEM, DIGITS, *LONE_WORDS, *dates, *iso]


def everything_found(views) -> list[str]:
    return occurrences(views, looked_for(), hashed=MARKERS.values())


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Pipeline:
    folder = tmp_path_factory.mktemp("planted")
    run = Pipeline(folder / "work", folder / "export")
    for name in ("home", "tmp"):
        (run.work / name).mkdir(parents=True)
    run.good, run.bad = write_planted_export(run.export)
    run.layout.private.mkdir(mode=0o700)
    run.layout.key_file.write_bytes(bytes(range(7, 39)))  # a fixed key: the same splits in each run
    run.layout.key_file.chmod(0o600)
    run.radio("scan", str(run.export), "--workers", "1")
    run.killed_build()
    run.radio("shard", "build", str(run.export), "--max-reject-rate", "0.1", "--workers", "2", codes=(3,))
    run.radio("shard", "build", str(run.export), "--json", "--workers", "1")
    run.radios(
        *((0, "shard", name) for name in ("verify", "info", "ls")),
        *((0, *names) for names in (("index", "rebuild"), ("key", "check"), ("key", "show-id"), ("rejects",))),
        *planted_labels(run.export.parent),
        (0, "query", "true", "--columns", "*", "--format", "json"),
        (0, "query", "true", "--columns", "*", "--format", "parquet", "--out", "all.parquet"),
        (0, "query", "--sql", "SELECT * FROM images JOIN labels USING (key)", "--format", "csv", "--out", "all.csv"),
        (0, "report", "--out", "report.html"),
        (2, "query", "regoin='Knee'"),
        (0, "forget", "--patient", MARKERS["patient 1"], "--runs", "."),
        (0, "forget", "--study", MARKERS["StudyInstanceUID 2"], "--json"),
    )
    run.radio("shard", "build", str(run.export), "--json", "--workers", "1")
    return run


def planted_labels(folder: Path) -> list[tuple[int | str, ...]]:
    """Imports of labels by two identifiers from files outside the working folder, good ones and refused ones."""
    commands: list[tuple[int | str, ...]] = []
    for keyword in ("AccessionNumber", "PatientID"):
        table = folder / f"{keyword}.csv"
        datasets = [everything(number) for number in range(12)]
        rows = [f"{dataset[keyword].value},{dataset.PatientName},yes" for dataset in datasets]
        table.write_text(f"{keyword},{STEM}name,{STEM}label\n" + "\n".join(rows) + "\n", encoding="utf-8")
        arguments = ("labels", "import", f"../{table.name}", "--id-column", keyword, "--task", keyword)
        commands.append((0, *arguments, "--label-column", f"{STEM}label"))
        commands.append((2, *arguments, "--label-column", f"{STEM}name", "--replace"))
    return commands


def test_builds_what_can_be_built_and_rejects_the_rest(pipeline):
    rejects = [path for path in pipeline.layout.private.rglob("*.parquet") if "reason" in pq.read_schema(path).names]
    reasons = [reason for path in rejects for reason in pq.read_table(path)["reason"].to_pylist() if reason]
    images = pq.read_table(pipeline.work / "all.parquet")
    assert images.num_rows == pipeline.good
    assert len(reasons) - reasons.count("WITHDRAWN") == pipeline.bad
    assert reasons.count("WITHDRAWN") >= 3
    assert len(set(reasons)) >= 9
    assert set(images["region"].to_pylist()) == {"Knee"}


def test_plants_more_than_a_thousand_different_markers(pipeline):
    assert len(set(MARKERS.values())) > 1000
    planted = b"".join(content for _, content in tree_views(pipeline.export))
    assert not [text for text in (STEM, DIGITS) if text.encode() not in planted]


def test_nothing_planted_is_anywhere_outside_the_private_folder(pipeline):
    assert everything_found(pipeline.views()) == []


def test_reasons_of_rejects_hold_nothing_planted_even_in_the_private_folder(pipeline):
    for path in pipeline.layout.private.rglob("*.parquet"):
        names = [name for name in ("reason", "detail", "region", "modality") if name in pq.read_schema(path).names]
        told = repr(pq.read_table(path, columns=names).to_pydict()).encode() if names else b""
        assert everything_found([(path.name, told)]) == []


def test_the_private_folder_is_closed_to_others(pipeline):
    for path in [pipeline.layout.private, *pipeline.layout.private.rglob("*")]:
        if path.is_dir() or path.suffix in {".parquet", ".key"}:
            assert path.stat().st_mode & 0o077 == 0, path.name


@pytest.mark.slow
def test_training_embedding_and_pictures_hold_nothing_planted(pipeline):
    run = ["--preset", "tiny", "--set", "run.max_steps=2", "--set", "data.step_images=2", "--run", "runs/r"]
    pipeline.radio("train", "pretrain", *run)
    pipeline.radio("train", "embed", "runs/r", "--out", "embeddings.parquet", "--split", "train")
    pipeline.radio("train", "reconstruct", "runs/r", "--out", "sheet.png", "--images", "1")
    pipeline.radio("train", "export", "runs/r", "--format", "hf", "--out", "weights")
    pipeline.radio("replay", "runs/r", "--step", "1", "--json")
    pipeline.radio("forget", "--patient", MARKERS["patient 2"])
    assert everything_found(pipeline.views()) == []


# ---- the search itself: each of these leaks has to be found


@pytest.mark.parametrize("form", [*forms(STEM)])
def test_finds_a_marker_in_each_form(form):
    coded = forms(f"before {STEM} after")[form] if "base64" not in form else forms(STEM)[form]
    assert everything_found([("x", b"\0\1" + coded + b"\2")])


@pytest.mark.parametrize("kind", ["tar", "parquet", "duckdb", "jph", "zip", "png"])
def test_finds_a_marker_inside_of_each_container(tmp_path, kind):
    make_container(tmp_path, kind)
    assert everything_found(tree_views(tmp_path))


def make_container(folder: Path, kind: str) -> None:
    import tarfile
    import zipfile

    import duckdb
    import imagecodecs
    import numpy as np
    import pyarrow as pa

    from radio_io.codecs.registry import get_codec

    pixels = np.frombuffer(STEM.encode() * 400, np.uint8).reshape(50, 80)
    (folder / "raw").write_bytes(get_codec("htj2k").encode(pixels.astype(np.uint16)))
    if kind == "parquet":
        pq.write_table(pa.table({"a": [f"x{STEM}"] * 100}), folder / "x.parquet", compression="zstd")
    elif kind == "duckdb":
        with duckdb.connect(str(folder / "x.duckdb")) as connection:
            connection.execute("CREATE TABLE t AS SELECT ? || range AS a FROM range(5000)", [STEM])
    elif kind == "png":
        (folder / "x.png").write_bytes(imagecodecs.png_encode(pixels))
    elif kind == "zip":
        with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner", STEM * 9)
    elif kind == "tar":
        with tarfile.open(folder / "x.tar", "w") as archive:
            archive.add(folder / "raw", "a.jph")
    else:
        shutil.copy(folder / "raw", folder / "x.jph")
    (folder / "raw").unlink()


# ---- one attribute too many


def test_reads_the_reviewed_attributes_and_no_other():
    """An attribute more is one too many until someone has looked at it twice and changed the list beside this test."""
    reviewed = dict(line.split() for line in REVIEWED.read_text().splitlines() if not line.startswith("#"))
    assert {rule.keyword: rule.action.value for rule in ATTRIBUTES.values()} == reviewed


def test_every_attribute_that_is_read_holds_a_marker_in_the_export():
    planted = {keyword_for_tag(element.tag) for element in everything(0)}
    assert set(ATTRIBUTES) <= planted | NEEDED
    dropped = {keyword_for_tag(tag) for tag in profile_tags()} - set(ATTRIBUTES)
    assert {"PatientName", "InstitutionName", "StudyID", "OperatorsName", "PatientComments"} <= dropped


MISTAKES = (
    "PatientName", "OtherPatientNames", "PatientBirthDate", "PatientAddress", "PatientComments", "AccessionNumber",
    "InstitutionName", "ReferringPhysicianName", "StudyDate", "StudyTime", "StationName", "DeviceSerialNumber",
    "StudyInstanceUID", "SeriesDescription", "ImageComments", "PatientID",
)  # fmt: skip


def test_an_attribute_added_to_the_allow_list_by_mistake_is_found(tmp_path, monkeypatch):
    """The mistake: its value goes into a column, of each image another one. The search has to find each."""
    export, root = tmp_path / "export", tmp_path / "work" / "shards"
    export.mkdir()
    for number in range(len(MISTAKES)):
        content = saved(image_dataset(number, picture(96, 80 + number, seed=number)), EXPLICIT)
        (export / f"{number:02}").write_bytes(content)
    leaked = leak_by_mistake(monkeypatch)
    build_dataset(BuildConfig(dataset=root, sources=(str(export),), workers=0), NoProgress())
    found = everything_found(tree_views(tmp_path / "work", leave_out=[DatasetLayout(root).private]))
    assert len(leaked) == len(MISTAKES)
    assert len({line.split(":")[0] for line in found if ".json:" in line}) == len(MISTAKES)
    for place in ("index.duckdb [rows]", ".parquet [rows]", ".tar"):
        assert any(place in line.split(":")[0] for line in found), place


def leak_by_mistake(monkeypatch) -> dict[str, str]:
    """Let one attribute of each image through, into the column `model`; which value of which instance."""
    true_record, leaked = sample.header_record, {}

    def careless(parsed, context):
        record = true_record(parsed, context)
        keyword = MISTAKES[record.columns - 80]
        told = identifier(parsed.dataset, keyword)
        assert told, f"{keyword} is not planted"
        leaked[record.instance_key] = told
        return dataclasses.replace(record, model=told)

    monkeypatch.setattr(sample, "header_record", careless)
    return leaked
