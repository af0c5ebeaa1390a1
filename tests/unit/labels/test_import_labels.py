"""Labels by original identifiers: who gets one, who does not, and what is written."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from radio_cli.main import app
from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, KeyFileError, UsageError
from radio_io.index.query import Request, run_query
from radio_io.labels.identifiers import IdColumn, image_lookup, open_dataset_key
from radio_io.labels.import_labels import import_labels, remove_task
from radio_io.labels.store import check_labels, load_labels, write_task
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset, publish_index
from radio_io.sharding.verify import verify_dataset
from unit.dicom.make_dicom import dataset_of, file_of, picture

IMAGES = (  # SOPInstanceUID, StudyInstanceUID, AccessionNumber, PatientID, IssuerOfPatientID
    ("1.2.1", "1.1.1", "ACC-1", "Muster-1", "H"),
    ("1.2.2", "1.1.1", "ACC-1", "Muster-1", ""),
    ("1.2.3", "1.1.2", "ACC-2", "Muster-1", ""),
    ("1.2.4", "1.1.3", "ACC-3", "Muster-2", ""),
    ("1.2.5", "1.1.4", "ACC-3", "Muster-3", ""),  # the same number for another patient
    ("1.2.6", "1.1.5", "", "UNKNOWN", ""),
)
ATTRIBUTES = ("SOPInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID", "IssuerOfPatientID")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A dataset of six images without labels."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "source").mkdir()
    for number, values in enumerate(IMAGES):
        dataset = dataset_of(picture(96, 80, seed=number), bits=12, **dict(zip(ATTRIBUTES, values, strict=True)))
        (folder / "source" / f"{number}").write_bytes(file_of(dataset))
    config = BuildConfig(dataset=folder / "shards", sources=(str(folder / "source"),), workers=0)
    assert build_dataset(config, NoProgress()).images == len(IMAGES)
    return folder / "shards"


@pytest.fixture
def root(whole, tmp_path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(whole, tmp_path / "shards")
    shutil.copytree(DatasetLayout(whole).private, DatasetLayout(tmp_path / "shards").private)
    return tmp_path / "shards"


def table(tmp_path, text, name="labels.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def run(root, path, id_column, **options):
    options = {"label_column": "Fracture", "task": "fracture"} | options
    return import_labels(root, [path], id_column=IdColumn(id_column), **options)


def labelled(root, task="fracture"):
    """SOPInstanceUID -> label."""
    lookup = image_lookup(root, open_dataset_key(root), IdColumn.SOP_INSTANCE_UID)
    uids = {lookup.images_of(values[0])[0]: values[0] for values in IMAGES}
    return {uids[key]: label for key, label in load_labels(root, task).items()}


@pytest.mark.parametrize(
    ("id_column", "lines", "expected"),
    [
        ("SOPInstanceUID", "1.2.1,yes\n1.2.4,no", {"1.2.1": "yes", "1.2.4": "no"}),
        ("StudyInstanceUID", "1.1.1,yes\n1.1.2,no", {"1.2.1": "yes", "1.2.2": "yes", "1.2.3": "no"}),
        ("AccessionNumber", " ACC-1 ,1\nACC-2,0", {"1.2.1": "1", "1.2.2": "1", "1.2.3": "0"}),
        ("PatientID", "Muster-1,a\nMuster-3,b", {"1.2.1": "a", "1.2.2": "a", "1.2.3": "a", "1.2.5": "b"}),
    ],
)
def test_joins_by_each_identifier(root, tmp_path, id_column, lines, expected):
    summary = run(root, table(tmp_path, f"{id_column},Fracture\n{lines}\n"), id_column)
    assert labelled(root) == expected
    assert (summary.lines, summary.used, summary.images) == (2, 2, len(expected))
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_accounts_for_every_line(root, tmp_path):
    lines = [
        "1.2.1,yes", "1.2.1,yes",  # twice the same is one label
        "1.2.2,yes", "1.2.2,no",  # contradicts itself: no label
        "1.2.3,Unsure", "1.2.3,UNSURE", "1.2.4,", "9.9.9,yes", ",yes", "1.2.6,no",
    ]  # fmt: skip
    summary = run(root, table(tmp_path, "SOPInstanceUID,Fracture\n" + "\n".join(lines)), "SOPInstanceUID")
    assert labelled(root) == {"1.2.1": "yes", "1.2.6": "no"}
    found = (summary.used, summary.conflicting, summary.unsure, summary.empty, summary.unmatched, summary.ambiguous)
    assert found == (3, 2, 2, 1, 2, 0)
    assert sum(found) == summary.lines == len(lines)
    assert summary.labels == {"no": 1, "yes": 1}
    assert summary.conflicting_images == 1


def test_leaves_out_an_accession_number_of_two_patients_and_ids_of_nobody(root, tmp_path):
    lines = "ACC-3,yes\nACC-2,yes\n"
    summary = run(root, table(tmp_path, f"AccessionNumber,Fracture\n{lines}"), "AccessionNumber")
    assert (summary.ambiguous, summary.used) == (1, 1)
    nobody = run(root, table(tmp_path, "PatientID,Fracture\nUNKNOWN,yes\nMuster-2,no\n"), "PatientID", task="b")
    assert (nobody.unmatched, nobody.images) == (1, 1)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Fracture;x;SOPInstanceUID\r\nja;;1.2.1\r\n", "utf-8-sig"),
        ("x\tsopinstanceuid\tfracture\nMüller\t1.2.1\tja\n", "latin-1"),
        ('SOPInstanceUID,Note,Fracture\n1.2.1,"a, ""b""\nc",ja\n', "utf-8"),
        ("SOPInstanceUID,Fracture\n\n1.2.1,ja", "utf-8"),
    ],
)
def test_reads_the_files_that_people_have(root, tmp_path, text, encoding):
    run(root, table(tmp_path, text, encoding=encoding), "SOPInstanceUID")
    assert labelled(root) == {"1.2.1": "ja"}


def test_labels_outlive_a_rebuilt_index(root, tmp_path):
    run(root, table(tmp_path, "SOPInstanceUID,Fracture\n1.2.1,yes\n"), "SOPInstanceUID")
    (root / "index.duckdb").unlink()
    publish_index(DatasetLayout(root), read_dataset_file(root))
    assert labelled(root) == {"1.2.1": "yes"}


def test_writes_the_same_bytes_whatever_the_order(root, tmp_path):
    run(root, table(tmp_path, "SOPInstanceUID,Fracture\n1.2.1,yes\n1.2.3,no\n"), "SOPInstanceUID")
    before = (root / "labels" / "fracture.parquet").read_bytes()
    run(root, table(tmp_path, "Fracture,SOPInstanceUID\nno,1.2.3\nyes,1.2.1\n"), "SOPInstanceUID")
    assert (root / "labels" / "fracture.parquet").read_bytes() == before


def test_replaces_a_task_only_when_asked_to_and_removes_it(root, tmp_path):
    first = table(tmp_path, "SOPInstanceUID,Fracture\n1.2.1,yes\n", "a.csv")
    second = table(tmp_path, "SOPInstanceUID,Fracture\n1.2.1,no\n", "b.csv")
    run(root, first, "SOPInstanceUID")
    with pytest.raises(UsageError, match="--replace"):
        run(root, second, "SOPInstanceUID")
    assert labelled(root) == {"1.2.1": "yes"}
    run(root, second, "SOPInstanceUID", replace=True)
    assert labelled(root) == {"1.2.1": "no"}
    assert remove_task(root, "fracture") == 1
    with pytest.raises(DatasetError, match="no labels of a task"):
        load_labels(root, "fracture")


def test_removes_labels_of_a_shared_copy_and_makes_nothing_where_there_is_no_dataset(root, tmp_path):
    write_task(DatasetLayout(root), "fracture", {"0" * 32: "1"})
    shutil.rmtree(DatasetLayout(root).private)
    assert remove_task(root, "fracture") == 1
    with pytest.raises(DatasetError, match="no dataset in"):
        remove_task(tmp_path / "other", "fracture")
    assert not DatasetLayout(tmp_path / "other").private.exists()


def test_a_dry_run_writes_nothing(root, tmp_path):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    summary = run(root, table(tmp_path, "SOPInstanceUID,Fracture\n1.2.1,yes\n"), "SOPInstanceUID", dry_run=True)
    assert summary.images == 1
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SOPInstanceUID,Fractur\n1.2.1,yes\n", "did you mean Fractur"),
        ("1.2.1,yes\n", "first line must hold the names"),
        ("SOPInstanceUID,Fracture,Fracture\n1.2.1,yes,no\n", "2 columns are called"),
        ("SOPInstanceUID,Fracture\n1.2.1,Muster,Erika\n", "line 2: 3 columns"),
        ("SOPInstanceUID,Fracture\n9.9,Muster\n", "no label of task"),
        ("SOPInstanceUID,Fracture\n1.2.1,Muster^Erika\n", "words of a short list"),
        (f"SOPInstanceUID,Fracture\n1.2.1,{'Erika ' * 12}\n", "words of a short list"),
    ],
)
def test_refuses_without_telling_what_stands_in_the_file(root, tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        run(root, table(tmp_path, text), "SOPInstanceUID")
    assert "Muster" not in str(caught.value)
    assert "Erika" not in str(caught.value)
    assert not (root / "labels").exists()


@given(labels=st.dictionaries(st.text(max_size=5), st.text(max_size=8), min_size=101, max_size=150))
def test_accepts_few_words_and_any_small_number(labels):
    numbers = {key: f"{number}.5" for number, key in enumerate(labels)}
    check_labels(numbers)
    with pytest.raises(UsageError, match="short list"):
        check_labels({key: f"word {number}" for number, key in enumerate(labels)})
    with pytest.raises(UsageError, match="short list"):
        check_labels({key: str(19_800_000 + number) for number, key in enumerate(labels)})


def test_refuses_another_key(root, tmp_path):
    DatasetLayout(root).key_file.write_bytes(bytes(32))
    with pytest.raises(KeyFileError, match="was built with"):
        run(root, table(tmp_path, "SOPInstanceUID,Fracture\n1.2.1,yes\n"), "SOPInstanceUID")


def test_the_command_line_imports_lists_and_joins(root, tmp_path, capsys):
    path = table(tmp_path, "AccessionNumber,Fracture\nACC-1,yes\nACC-2,no\n9,yes\n")
    options = ["--dataset", str(root)]
    arguments = ["labels", "import", str(path), "--id-column", "AccessionNumber", "--task", "t"]
    done = CliRunner().invoke(app, [*arguments, "--label-column", "Fracture", "--json", *options])
    assert json.loads(done.stdout)["images"] == 3
    listed = CliRunner().invoke(app, ["labels", "list", "--json", *options])
    expected = [{"task": "t", "label": "no", "images": 1}, {"task": "t", "label": "yes", "images": 2}]
    assert json.loads(listed.stdout) == expected
    sql = (
        "SELECT label, count(*) AS n FROM images JOIN labels USING (key) WHERE task = 't' GROUP BY label ORDER BY label"
    )
    run_query(root, Request(sql=sql), "json", None)  # not the command: it limits the memory of this process
    assert json.loads(capsys.readouterr().out) == [{"label": "no", "n": 1}, {"label": "yes", "n": 2}]
    removed = CliRunner().invoke(app, ["labels", "remove", "--task", "t", "--json", *options])
    assert json.loads(removed.stdout) == {"task": "t", "images": 3, "removed": True}


def test_only_pseudonyms_are_written(root, tmp_path):
    run(root, table(tmp_path, "PatientID,Fracture\nMuster-1,yes\n"), "PatientID")
    for path in (path for path in root.rglob("*") if path.is_file()):
        assert b"Muster" not in path.read_bytes()
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT * FROM labels").fetchall()
    assert len(rows) == 3
    assert all(task == "fracture" and len(key) == 32 and label == "yes" for task, key, label in rows)
