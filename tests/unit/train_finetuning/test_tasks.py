"""Tasks of a dataset: regions, imported labels, label files, and what they refuse."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelled_tasks import label_dataset, truth_by_key
from radio_io.errors import DatasetError, UsageError
from radio_train.evaluation.outcomes import TaskKind
from radio_train.finetuning.tasks import REGIONS, TaskSpec, load_task


@pytest.fixture(scope="module")
def truth(built):
    return truth_by_key(built)


@pytest.fixture(scope="module")
def labelled(built, truth, tmp_path_factory):
    keys = sorted(truth)
    tasks = {
        "fracture": {key: "yes" if row["fracture"] == "1" else "no" for key, row in truth.items()},
        "grade": {key: str(8 + i % 3) for i, key in enumerate(keys)},
        "single": dict.fromkeys(keys, "always"),
        "gone": {"f" * 32: "a"},
        "words": {key: ("mild", "severe")[i % 2] for i, key in enumerate(keys)},
    }
    return label_dataset(built, tmp_path_factory.mktemp("labelled"), tasks)


def write_csv(path, rows, header="key,label"):
    path.write_text(header + "\n" + "".join(f"{key},{label}\n" for key, label in rows), encoding="utf-8")
    return path


def test_regions_need_no_labels(built, truth):
    task = load_task(built.root, TaskSpec(name="region"))
    assert set(task.classes) <= set(REGIONS)
    assert task.kind is TaskKind.MULTICLASS
    assert len(task) + sum(task.left_out.values()) == built.summary.images
    for key, target in zip(task.keys, task.targets, strict=True):
        if key in truth:
            assert task.classes[target] == truth[key]["region"]


def test_labels_of_the_index_are_joined_by_key(labelled, truth):
    task = load_task(labelled, TaskSpec(name="fracture"))
    assert (task.kind, task.classes) == (TaskKind.BINARY, ("no", "yes"))
    assert [truth[key]["fracture"] for key in task.keys] == [str(target) for target in task.targets]
    narrow = load_task(labelled, TaskSpec(name="fracture", where="region = 'Knee'"))
    assert 0 < len(narrow) < len(task)
    assert sum(narrow.left_out.values()) == len(task) - len(narrow)


def test_grades_are_in_the_order_of_their_numbers(labelled):
    task = load_task(labelled, TaskSpec(name="grade", kind=TaskKind.ORDINAL))
    assert task.classes == ("8", "9", "10")
    with pytest.raises(UsageError, match="ordinal task needs numbers"):
        load_task(labelled, TaskSpec(name="words", kind=TaskKind.ORDINAL))


def test_the_positive_class_can_be_named(labelled):
    assert load_task(labelled, TaskSpec(name="words", positive="mild")).classes == ("severe", "mild")
    with pytest.raises(UsageError, match="'mild', 'severe'"):
        load_task(labelled, TaskSpec(name="words", positive="bad"))


def test_several_labels_have_to_be_asked_for(built, truth, tmp_path):
    keys = sorted(truth)
    rows = [(key, name) for i, key in enumerate(keys) for name in ("a", "b", "none")[i % 3 :]]
    path = write_csv(tmp_path / "labels.csv", rows)
    task = load_task(built.root, TaskSpec(name="both", kind=TaskKind.MULTILABEL, labels_file=path))
    assert task.classes == ("a", "b")
    assert task.targets.tolist() == [[[1, 1], [0, 1], [0, 0]][i % 3] for i in range(len(keys))]
    with pytest.raises(UsageError, match=r"have several labels.*--kind multilabel"):
        load_task(built.root, TaskSpec(name="both", labels_file=path))


def test_a_rare_class_is_left_out_and_counted(built, truth, tmp_path):
    rows = [(key, ("a", "b")[i % 2] if i else "once") for i, key in enumerate(sorted(truth))]
    spec = TaskSpec(name="x", labels_file=write_csv(tmp_path / "l.csv", rows), kind=TaskKind.MULTICLASS)
    task = load_task(built.root, spec)
    assert task.classes == ("a", "b")
    assert dict(task.left_out) == {"class of fewer than 3 patients: once": 1}


def test_reads_parquet_too(built, truth, tmp_path):
    keys = sorted(truth)
    labels = ["1" if truth[key]["fracture"] == "1" else "0" for key in keys]
    pq.write_table(pa.table({"key": keys, "label": labels}), tmp_path / "labels.parquet")
    task = load_task(built.root, TaskSpec(name="x", labels_file=tmp_path / "labels.parquet"))
    assert task.targets.sum() == labels.count("1")
    assert task.digest() == load_task(built.root, TaskSpec(name="x", labels_file=tmp_path / "labels.parquet")).digest()
    other = load_task(built.root, TaskSpec(name="x", labels_file=tmp_path / "labels.parquet", positive="0"))
    assert task.digest() != other.digest()
    assert np.array_equal(task.targets, 1 - other.targets)


def test_refuses_an_unknown_task_and_says_which_are_known(labelled):
    with pytest.raises(DatasetError, match=r"no labels of task 'fractur'; did you mean 'fracture'\?.*labels import"):
        load_task(labelled, TaskSpec(name="fractur"))
    with pytest.raises(DatasetError, match="known are region, fracture, gone, grade"):
        load_task(labelled, TaskSpec(name="quux"))


def test_refuses_a_task_of_one_class_and_one_without_images(labelled):
    with pytest.raises(DatasetError, match="only the class 'always'"):
        load_task(labelled, TaskSpec(name="single"))
    with pytest.raises(DatasetError, match="none of the 1 labels of task 'gone'"):
        load_task(labelled, TaskSpec(name="gone"))
    with pytest.raises(UsageError, match="3 classes, a binary task has two"):
        load_task(labelled, TaskSpec(name="grade", kind=TaskKind.BINARY))
    with pytest.raises(DatasetError, match="no image that"):
        load_task(labelled, TaskSpec(name="region", where="rows > 100000"))


def test_refuses_a_wrong_label_file_without_repeating_it(built, truth, tmp_path):
    keys = sorted(truth)
    cases = [
        (write_csv(tmp_path / "a.csv", [(key, "1") for key in keys], "id,label"), "lacks the column key"),
        (write_csv(tmp_path / "b.csv", []), "holds no label"),
        (write_csv(tmp_path / "c.csv", [("1.2.840.113", "1"), (keys[0], "0")]), "1 of 2 keys in c.csv are none"),
        (tmp_path / "missing.csv", "FileNotFoundError"),
        (tmp_path / "missing.parquet", "FileNotFoundError"),
    ]
    (tmp_path / "latin.csv").write_bytes("key,label\nMüller,1\n".encode("latin-1"))
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    cases += [(tmp_path / "latin.csv", "UnicodeDecodeError"), (tmp_path / "bad.parquet", "expected CSV")]
    for path, message in cases:
        with pytest.raises(UsageError, match=message) as caught:
            load_task(built.root, TaskSpec(name="x", labels_file=path))
        assert "1.2.840" not in str(caught.value)


def test_refuses_labels_of_unknown_images(built, truth, tmp_path):
    path = write_csv(tmp_path / "l.csv", [*((key, "1") for key in truth), ("e" * 32, "0")])
    with pytest.raises(DatasetError, match=f"1 of {len(truth) + 1} labels in l.csv are of images that this dataset"):
        load_task(built.root, TaskSpec(name="x", labels_file=path))
