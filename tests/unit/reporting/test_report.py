"""The report: one page that is whole, valid, escaped, and shows what the index says."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from radio_io.config import BuildConfig
from radio_io.errors import DatasetError
from radio_io.progress import NoProgress
from radio_io.reporting import charts
from radio_io.reporting.page import page
from radio_io.reporting.report import write_report
from radio_io.sharding.build import build_dataset
from radio_train.report_costs import training_costs
from unit.dicom.make_dicom import dataset_of, file_of, picture

VOID = {"meta", "link", "img", "br"}


class Checker(HTMLParser):
    """Refuses tags that do not close in order, ids that occur twice, and links to ids that do not exist."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.images = [], set(), [], 0

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            assert values["id"] not in self.ids
            self.ids.add(values["id"])
        for name in ("href", "src"):
            if name in values:
                assert values[name].startswith(("#", "data:")), "nothing comes from elsewhere"
                if values[name].startswith("#"):
                    self.links.append(values[name][1:])
        if tag == "img":
            self.images += 1
            assert values["alt"]
        if tag == "svg":
            assert values["aria-label"]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.open
    assert set(checker.links) <= checker.ids
    assert "<script" not in text
    return checker


def test_shows_a_dataset(built, tmp_path):
    facts = write_report(built.root, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    checker = checked(text)
    assert facts.images == built.summary.images
    assert checker.images == facts.pictures > 10
    assert facts.size_bytes < 10_000_000
    for reason, count in built.summary.rejects.items():
        assert re.search(rf"{reason}</th>.*?>{count:,}<", text)
    assert "Knee" in text
    assert f"{built.summary.images:,} radiographs" in text


def test_leaves_pictures_out(built, tmp_path):
    facts = write_report(built.root, tmp_path / "report.html", pictures=False)
    assert facts.pictures == 0
    assert checked((tmp_path / "report.html").read_text(encoding="utf-8")).images == 0


def test_is_the_same_twice(built, tmp_path):
    for name in ("a", "b"):
        write_report(built.root, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shows_a_run(built, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        "\n".join(json.dumps({"step": i, "loss": 1 / (i + 1), "images_per_s": 10.0}) for i in range(50))
    )
    write_report(built.root, tmp_path / "report.html", run=tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    checked(text)
    assert "loss: 1 at the start, 0.02 at the end" in text
    with pytest.raises(DatasetError, match=r"metrics\.jsonl"):
        write_report(built.root, tmp_path / "report.html", run=tmp_path / "none")


def test_shows_a_dataset_of_one_size(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.dcm").write_bytes(file_of(dataset_of(picture(), bits=12)))
    build_dataset(BuildConfig(dataset=tmp_path / "d", sources=(str(tmp_path / "src"),), workers=0), NoProgress())
    assert write_report(tmp_path / "d", tmp_path / "report.html").images == 1
    checked((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_escapes_every_text():
    evil = "<script>alert(1)</script>"
    for content in (charts.bars(evil, {evil: 1}, unit=evil), charts.table([evil, evil], [[evil, evil]])):
        text = page(evil, evil, [(evil, content)])
        assert "<script" not in text
    assert "<script" not in charts.line([(0, 1), (1, 2)], name=evil, across=evil)


def test_draws_one_size_and_many():
    for sizes in ([700], [100, 3000, 3000]):
        heights = np.array(sizes)
        text = charts.size_density(heights, heights, [(1152, 1152), (3072, 3072)])
        assert text.count('class="bin"') == 2
        assert text.count('class="cell"') == len(set(sizes))


def test_is_a_command(built, tmp_path):
    command = [sys.executable, "-m", "radio_cli", "report", "--dataset", str(built.root), "--json"]
    ended = subprocess.run([*command, "--out", str(tmp_path / "r.html")], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["images"] == built.summary.images
    dry = subprocess.run(
        [*command, "--out", str(tmp_path / "none.html"), "--dry-run"], capture_output=True, text=True, check=True
    )
    assert "nothing was written" in dry.stderr
    assert not (tmp_path / "none.html").exists()


def test_shows_what_an_epoch_costs_and_how_images_were_exposed(built, tmp_path):
    write_report(built.root, tmp_path / "report.html", pictures=False, costs=training_costs)
    text = (tmp_path / "report.html").read_text()
    checked(text)
    assert re.search(r"packed into 24,576.*H100|H100.*packed into 24,576", text, re.DOTALL)
    assert "36 bins of the thesis" in text
    assert re.search(r"tube voltage, kV.*\d / \d", text, re.DOTALL)


def test_shows_at_most_four_pictures_of_a_region(built, tmp_path):
    write_report(built.root, tmp_path / "report.html")
    captions = re.findall(r"<figcaption>([^<,]+),", (tmp_path / "report.html").read_text())
    assert captions == sorted(captions)
    assert max(captions.count(region) for region in set(captions)) == 4
