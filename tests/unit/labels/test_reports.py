"""Labels from reports: precision on sentences written before the rules and after, and where text may go."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labelled_tasks import truth_by_key
from radio_cli.main import app
from radio_io.errors import ConfigError, UsageError
from radio_io.index.catalog import open_index
from radio_io.labels.identifiers import IdColumn
from radio_io.labels.report_rules import SHIPPED, Statement, load_rules, read_report, sentences
from radio_io.labels.reports import labels_from_reports
from radio_io.labels.store import load_labels
from radio_io.layout import DatasetLayout

DATA = Path(__file__).parents[2] / "data" / "reports"
WRITTEN_BEFORE = ("fracture_de", "fracture_en", "foreign_material_de", "foreign_material_en")
WRITTEN_AFTER = ("later_fracture_de", "later_fracture_en", "later_foreign_material")
NEVER_TUNED_TO = ("last_fracture", "last_foreign_material")
SECRET = "Geheimtext-4711"


def cases(*names):
    for name in names:
        finding = "fracture" if "fracture" in name else "foreign_material"
        for line in (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            truth, text = line.split("\t")
            yield finding, truth, text


def judge(*names):
    """Labels given, right ones among them, and labels that could have been given."""
    rules = {name: load_rules(name) for name in SHIPPED}
    given = right = possible = 0
    for finding, truth, text in cases(*names):
        said = read_report(rules[finding], text).statement
        given += said in (Statement.PRESENT, Statement.ABSENT)
        right += said == truth
        possible += truth != "unclear"
    return given, right, possible


def test_there_are_enough_sentences_of_every_kind():
    found = list(cases(*WRITTEN_BEFORE))
    assert len(found) >= 200
    assert len({text for _, _, text in found}) == len(found)
    for finding in SHIPPED:
        for truth in ("present", "absent", "unclear"):
            assert sum((f, t) == (finding, truth) for f, t, _ in found) >= 14


@pytest.mark.parametrize(
    ("names", "precision", "recall"),
    [(WRITTEN_BEFORE, 0.98, 0.95), (WRITTEN_AFTER, 0.98, 0.85), (NEVER_TUNED_TO, 0.98, 0.85)],
)
def test_labels_are_right(names, precision, recall):
    given, right, possible = judge(*names)
    assert right / given >= precision
    assert right / possible >= recall


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("Befund: Distale Radiusfraktur. Beurteilung: Radiusfraktur, keine weitere Fraktur.", Statement.PRESENT),
        ("Klinische Angaben: Fraktur? Befund: Regelrechte Stellung.\nKeine Fraktur.", Statement.UNSURE),
        ("Keine Luxation. Keine Fraktur.", Statement.ABSENT),
        ("Regelrechte Artikulation.", Statement.NOTHING),
        ("", Statement.NOTHING),
        ("Nicht dislozierte Fraktur der 5. Rippe re. lateral. Kein Pneumothorax.", Statement.PRESENT),
        ("No fracture.\nFracture of the distal radius.", Statement.PRESENT),
    ],
)
def test_a_report_is_more_than_its_sentences(text, statement):
    assert read_report(load_rules("fracture"), text).statement is statement


def test_abbreviations_and_ordinals_end_no_sentence():
    text = "Z.n. Fraktur der 5. Rippe li. lateral, ca. 3.5 cm. V.a. Erguss! Kontrolle?"
    expected = ["Z.n. Fraktur der 5. Rippe li. lateral, ca. 3.5 cm.", "V.a. Erguss!", "Kontrolle?"]
    assert list(sentences(load_rules("fracture"), text)) == expected


def test_refuses_rules_that_are_none(tmp_path):
    path = tmp_path / "rules.toml"
    for text, message in [
        ("finding = ['(']\nnegated_before = ['no']", "no regular expression"),
        ("finding = ['x']", "lacks negated_before"),
        ("finding = ['x']\nnegated_before = ['no']\nnegate = ['y']", "unknown keys negate"),
        ("finding = 'x'\nnegated_before = ['no']", "must be a list"),
        ("finding = [", "not readable as TOML"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_rules(path)
    with pytest.raises(UsageError, match="shipped are fracture, foreign_material"):
        load_rules("fractures")


@pytest.fixture
def reported(built, tmp_path):
    """A copy of the dataset, and a table of reports that follow the truth of the synthetic export."""
    root = tmp_path / "shards"
    shutil.copytree(built.root, root)
    shutil.copytree(DatasetLayout(built.root).private, DatasetLayout(root).private)
    truth = truth_by_key(built)
    path = tmp_path / "reports.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["SOPInstanceUID", "Befund"])
        for number, row in enumerate(truth.values()):
            says = "Distale Radiusfraktur." if row["fracture"] == "1" else "Kein Nachweis einer Fraktur."
            if number % 5 == 0:
                says = "V.a. Fraktur."
            writer.writerow([row["SOPInstanceUID"], f"{SECRET} Patient.\n{says}"])
        writer.writerow(["1.2.3.4.5", "Keine Fraktur."])
    return root, path, truth


def test_plain_statements_become_labels_under_pseudonyms(reported):
    root, path, truth = reported
    summary = labels_from_reports(
        root,
        [path],
        load_rules("fracture"),
        id_column=IdColumn.SOP_INSTANCE_UID,
        text_column="Befund",
        task="fracture_reports",
        sample=10,
    )
    labels = load_labels(root, "fracture_reports")
    names = {"0": "absent", "1": "present"}
    assert labels == {key: names[row["fracture"]] for n, (key, row) in enumerate(truth.items()) if n % 5}
    assert (summary.reports, summary.labels.unmatched) == (len(truth) + 1, 1)
    assert summary.present + summary.absent + summary.unsure == summary.reports
    assert summary.unsure == summary.labels.unsure == -(-len(truth) // 5)


def test_the_text_stays_in_the_private_sample(reported):
    root, path, _ = reported
    result = CliRunner().invoke(
        app,
        f"labels from-reports {path} --id-column SOPInstanceUID --text-column Befund --task f --sample 6 "
        f"--dataset {root} --json".split(),
    )
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    sample = DatasetLayout(root).private / "report_samples" / "f.csv"
    assert json.loads(result.stdout)["sample"] == str(sample)
    rows = list(csv.DictReader(sample.read_text(encoding="utf-8").splitlines(keepends=True)))
    assert {row["read_as"] for row in rows} == {"present", "absent"}
    assert len(rows) == 6
    assert all(SECRET in row["report"] and row["deciding_sentence"] in row["report"] for row in rows)
    assert (sample.stat().st_mode & 0o777, sample.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    for file in [each for folder in (root, root.parent) for each in folder.rglob("*") if each.is_file()]:
        if file not in (path, sample):
            assert SECRET.encode() not in file.read_bytes(), file
    with open_index(root) as connection:
        assert connection.execute("SELECT DISTINCT label FROM labels ORDER BY 1").fetchall() == [
            ("absent",),
            ("present",),
        ]


def test_a_dry_run_writes_nothing(reported):
    root, path, _ = reported
    before = {file: file.stat().st_mtime_ns for file in root.parent.rglob("*")}
    result = CliRunner().invoke(
        app,
        f"labels from-reports {path} --id-column SOPInstanceUID --text-column Befund --task f --dataset {root} "
        "--dry-run".split(),
    )
    assert result.exit_code == 0, result.output
    assert "say present" in result.stdout
    assert {file: file.stat().st_mtime_ns for file in root.parent.rglob("*")} == before
