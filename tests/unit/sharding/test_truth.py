"""What is read from a synthetic export against its ground truth; bench/truth.py does the same on more images."""

import csv

import radio_io
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer


def test_names_the_regions_of_an_export(built):
    pseudonyms = Pseudonymizer.from_file(DatasetLayout(built.root).key_file, built.root)
    with built.export.with_name("export_ground_truth.csv").open(newline="", encoding="utf-8") as file:
        truth = {pseudonyms.instance(row["SOPInstanceUID"], ""): row for row in csv.DictReader(file)}
    rows = radio_io.open_dataset(built.root).query("is_synthetic").to_pylist()
    pairs = [(row["region"], truth[row["instance_key"]]["region"]) for row in rows]
    named = [(ours, known) for ours, known in pairs if ours != "Unknown"]
    assert len(rows) >= 80
    assert sum(ours == known for ours, known in named) >= 0.99 * len(named)
    assert len(named) >= 0.97 * len(pairs)
