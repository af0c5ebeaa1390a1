"""Tasks of made-up patients, and labels for a built dataset."""

import csv
import shutil

import numpy as np

from radio_io.index.catalog import build_index, open_index
from radio_io.labels.store import write_task
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_train.evaluation.outcomes import TaskKind
from radio_train.finetuning.tasks import Task


def make_task(kind=TaskKind.MULTICLASS, *, patients=300, shares=(0.6, 0.3, 0.1), seed=0):
    """Patients of one to five images with labels; most images of a patient have the same one."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, patients)
    who = np.repeat(np.arange(patients), sizes)
    classes = len(shares)
    if kind is TaskKind.MULTILABEL:
        targets = (rng.random((len(who), classes)) < np.array(shares)).astype(np.int64)
    else:
        of_patient = rng.choice(classes, patients, p=shares)
        other = rng.choice(classes, len(who), p=shares)
        targets = np.where(rng.random(len(who)) < 0.9, of_patient[who], other).astype(np.int64)
    return Task(
        name="made up",
        kind=kind,
        classes=tuple(f"c{i}" for i in range(classes)),
        keys=tuple(f"{i:032x}" for i in range(len(who))),
        patients=tuple(f"patient {p}" for p in who),
        dataset_splits=tuple(np.array(["train", "val", "test"])[np.arange(len(who)) % 3].tolist()),
        targets=targets,
    )


def truth_by_key(built):
    """The ground truth of the synthetic images of a dataset, by key."""
    name = Pseudonymizer.from_file(DatasetLayout(built.root).key_file)
    with built.export.with_name(f"{built.export.name}_ground_truth.csv").open(encoding="utf-8") as file:
        truth = {name.instance(row["SOPInstanceUID"]): row for row in csv.DictReader(file)}
    with open_index(built.root) as connection:
        pairs = connection.execute("SELECT key, instance_key FROM images ORDER BY key").fetchall()
    return {key: truth[instance] for key, instance in pairs if instance in truth}


def label_dataset(built, folder, tasks):
    """A copy of the dataset in `folder` whose index has labels: {task: {key: label}}."""
    root = folder / "shards"
    shutil.copytree(built.root, root)
    for task, labels in tasks.items():
        write_task(DatasetLayout(root), task, labels)
    build_index(DatasetLayout(root), [])
    return root
