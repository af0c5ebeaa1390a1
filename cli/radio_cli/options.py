"""Options that several commands share, each with one meaning and one help text."""

from pathlib import Path
from typing import Annotated

import typer

DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help="Dataset folder or URL. Default: RADIO_DATASET, radio.toml, else ./shards."),
]
PrivateOption = Annotated[
    Path | None,
    typer.Option("--private", help="Private folder of a dataset at a URL. Default: ./NAME.private beside you."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Processes. Default: one a core.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SRC...", help="Files, folders, archives or URLs (s3://...). Default: the sources of radio.toml."
    ),
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FILE", help="Read more sources from FILE, one a line or NUL-separated; - is stdin."
    ),
]
