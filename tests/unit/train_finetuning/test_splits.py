"""Splits by patient: nobody crosses, shares are kept, the same seed gives the same."""

from dataclasses import replace

import numpy as np
import pytest

from labelled_tasks import make_task
from radio_io.errors import DatasetError, UsageError
from radio_train.evaluation.outcomes import TaskKind
from radio_train.finetuning.splits import check_splits, dataset_splits, describe_splits, label_subset, stratified_splits

SPLITS = ("train", "val", "test")


def shuffled(task, seed):
    order = np.random.default_rng(seed).permutation(len(task))
    return order, replace(
        task,
        keys=tuple(task.keys[i] for i in order),
        patients=tuple(task.patients[i] for i in order),
        dataset_splits=tuple(task.dataset_splits[i] for i in order),
        targets=task.targets[order],
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [TaskKind.MULTICLASS, TaskKind.MULTILABEL])
def test_no_patient_crosses_and_the_shares_are_kept(kind, seed):
    task = make_task(kind, seed=seed)
    splits = stratified_splits(task, seed=seed)
    for patient in set(task.patients):
        assert len({split for split, who in zip(splits, task.patients, strict=True) if who == patient}) == 1
    for split, share in zip(SPLITS, (0.75, 0.10, 0.15), strict=True):
        chosen = splits == split
        assert chosen.mean() == pytest.approx(share, abs=0.01)
        for label in range(3):
            members = task.memberships[:, label]
            assert members[chosen].sum() / members.sum() == pytest.approx(share, abs=0.05), (split, label)


def test_depends_on_the_seed_and_on_nothing_else():
    task = make_task(seed=3)
    splits = stratified_splits(task, seed=1)
    assert (splits == stratified_splits(task, seed=1)).all()
    assert (splits != stratified_splits(task, seed=2)).any()
    order, other = shuffled(task, 8)
    assert (stratified_splits(other, seed=1) == splits[order]).all()


def test_a_class_of_three_patients_is_in_every_split():
    task = make_task(patients=60, seed=1)
    rare = [task.patients.index(f"patient {p}") for p in (3, 7, 11)]
    targets = np.minimum(task.targets, 1)
    targets[rare] = 2
    counts = describe_splits(task, stratified_splits(replace(task, targets=targets)))
    rare_task = replace(task, targets=targets)
    counts = describe_splits(rare_task, stratified_splits(rare_task))
    assert [counts[split]["c2"] for split in SPLITS] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_fractions_are_nested_have_every_class_and_whole_patients(seed):
    task = make_task(seed=5)
    splits = stratified_splits(task)
    subsets = {fraction: label_subset(task, splits, fraction, seed) for fraction in (0.01, 0.1, 0.5, 1.0)}
    smaller = np.zeros(len(task), bool)
    for fraction, chosen in subsets.items():
        assert not (smaller & ~chosen).any()
        assert not (chosen & (splits != "train")).any()
        assert (task.memberships[chosen].sum(0) > 0).all()
        inside = {who for who, used in zip(task.patients, chosen, strict=True) if used}
        assert all(used or who not in inside for who, used in zip(task.patients, chosen, strict=True))
        assert chosen.sum() >= fraction * (splits == "train").sum()
        if fraction >= 0.1:
            assert chosen.sum() <= fraction * (splits == "train").sum() + 5
            shares = task.memberships[chosen].mean(0) - task.memberships[splits == "train"].mean(0)
            assert np.abs(shares).max() < 0.08
        smaller = chosen
    assert subsets[0.01].sum() < 20
    assert (label_subset(task, splits, 0.1, seed + 1) != subsets[0.1]).any()


def test_refuses_a_split_of_one_class_and_says_what_to_do():
    task = make_task(TaskKind.BINARY, shares=(0.5, 0.5))
    splits = np.where(task.targets == 1, "train", np.where(np.arange(len(task)) % 2, "val", "test"))
    splits[task.targets == 0] = "train"
    with pytest.raises(DatasetError, match=r"split val of task 'made up' has no image.*--splits stratified"):
        check_splits(task, splits)
    one_class = np.array(["train"] * len(task), dtype="<U5")
    one_class[:40], one_class[40:60] = "val", "test"
    with pytest.raises(DatasetError, match="lacks c0"):
        check_splits(replace(task, targets=np.where(np.arange(len(task)) < 40, 1, task.targets)), one_class)
    assert (dataset_splits(task) == np.array(task.dataset_splits)).all()


def test_refuses_impossible_shares_and_fractions():
    task = make_task()
    with pytest.raises(UsageError, match="add up to 1"):
        stratified_splits(task, shares=(0.7, 0.1, 0.1))
    with pytest.raises(UsageError, match="at most 1"):
        label_subset(task, stratified_splits(task), 1.5, 0)
