"""`radio key`: the pseudonym key of a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, JsonOption

app = typer.Typer(help="Make, show or check the pseudonym key of a dataset.", no_args_is_help=True)


@app.command(epilog="Example: radio key init --dataset shards")
def init(
    dataset: DatasetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say where the key would be written.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the key file (32 random bytes, mode 0600) in the private folder beside the dataset.

    Back it up: pseudonyms of later exports only match with the same key.
    """
    key_file = _key_file(dataset)
    if dry_run:
        typer.echo(f"would write {key_file}")
        return
    from radio_cli.console import emit_json
    from radio_cli.project import dataset_root
    from radio_io.privacy.key_file import make_dataset_key

    key_id = make_dataset_key(dataset_root(dataset)).key_id
    if as_json:
        emit_json({"key_id": key_id, "key_file": str(key_file)})
    else:
        typer.echo(
            f"wrote {key_file}, key id {key_id}; back it up where only those may read it who may know the patients"
        )


@app.command("show-id", epilog="Example: radio key show-id --json")
def show_id(dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Print the key's id, which dataset.json carries; it does not reveal the key."""
    from radio_cli.console import emit_json
    from radio_io.privacy.pseudonyms import Pseudonymizer

    key_id = Pseudonymizer.from_file(_key_file(dataset)).key_id
    if as_json:
        emit_json({"key_id": key_id})
    else:
        typer.echo(key_id)


@app.command(epilog="Example: radio key check")
def check(dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Check the key's mode and place, and that the dataset was built with it."""
    from radio_cli.console import emit_json
    from radio_cli.project import dataset_root
    from radio_io.privacy.pseudonyms import Pseudonymizer
    from radio_io.sharding.info import check_key

    key_id = Pseudonymizer.from_file(_key_file(dataset)).key_id
    check_key(dataset_root(dataset), key_id)
    if as_json:
        emit_json({"key_id": key_id, "ok": True})
    else:
        typer.echo(f"ok: key {key_id} is private, and the dataset was built with it")


def _key_file(dataset: str | None) -> Path:
    from radio_cli.project import dataset_root
    from radio_io.layout import DatasetLayout

    return DatasetLayout(dataset_root(dataset)).key_file
