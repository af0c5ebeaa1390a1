"""Keys of datasets that do not exist yet."""

import stat

import pytest
from typer.testing import CliRunner

from radio_cli.main import app
from radio_io.errors import KeyFileError
from radio_io.layout import DatasetLayout
from radio_io.privacy.key_file import make_dataset_key
from radio_io.privacy.pseudonyms import Pseudonymizer


def test_makes_the_private_folder_and_the_key_for_their_owner_alone(tmp_path):
    layout = DatasetLayout(tmp_path / "a" / "shards")
    key_id = make_dataset_key(layout.root).key_id
    assert stat.S_IMODE(layout.private.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.key_file.stat().st_mode) == 0o600
    assert Pseudonymizer.from_file(layout.key_file, layout.root).key_id == key_id
    with pytest.raises(KeyFileError, match="never overwritten"):
        make_dataset_key(layout.root)


def test_closes_a_private_folder_that_was_open(tmp_path):
    layout = DatasetLayout(tmp_path / "shards")
    layout.private.mkdir(mode=0o755)
    make_dataset_key(layout.root)
    assert stat.S_IMODE(layout.private.stat().st_mode) == 0o700


def test_makes_no_second_key_for_a_dataset_whose_key_is_gone(tmp_path):
    layout = DatasetLayout(tmp_path / "shards")
    layout.root.mkdir()
    layout.dataset_json.write_text("{}")
    with pytest.raises(KeyFileError, match="restore it from a backup"):
        make_dataset_key(layout.root)
    assert not layout.key_file.exists()


def test_the_command_makes_shows_and_refuses(tmp_path):
    options = ["--dataset", str(tmp_path / "shards")]
    dry = CliRunner().invoke(app, ["key", "init", "--dry-run", *options])
    assert "would write" in dry.stdout
    assert list(tmp_path.iterdir()) == []
    made = CliRunner().invoke(app, ["key", "init", *options])
    shown = CliRunner().invoke(app, ["key", "show-id", *options]).stdout.strip()
    assert len(shown) == 16
    assert shown in made.stdout
    again = CliRunner().invoke(app, ["key", "init", "--json", *options])
    assert isinstance(again.exception, KeyFileError)
