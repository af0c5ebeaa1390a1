"""Options of the loader that training commands share, and what they set in a configuration."""

from pathlib import Path
from typing import Annotated

import typer

ResolutionOption = Annotated[
    str | None,
    typer.Option("--resolution", help="1, 1/2, 1/4 or 1/8: read and decode only the front of each image (htj2k)."),
]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", help="percentile (of each image, from the index) or bits: what becomes 0 to 1.")
]
MaxBadOption = Annotated[
    int | None, typer.Option("--max-bad", min=0, help="Damaged images tolerated by a process before the run stops.")
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder on a local disk that keeps images after their first reading.")
]
CacheSizeOption = Annotated[
    str | None, typer.Option("--cache-size", help="What the cache may hold, such as 800GB.  [default: 100GB]")
]

DropBackgroundOption = Annotated[
    bool,
    typer.Option(
        "--drop-background",
        help="Leave out patches of one value or nearly (data.background_permille); counted at the first use.",
    ),
]


def loader_assignments(
    *,
    resolution: str | None,
    scale: str | None,
    max_bad: int | None,
    cache: Path | None,
    cache_size: str | None,
    drop_background: bool = False,
) -> list[str]:
    """The options that were given, as assignments to a configuration."""
    values = {
        "data.resolution": resolution and f'"{resolution}"',
        "data.scale": scale and f'"{scale}"',
        "data.max_bad": max_bad,
        "data.drop_background": "true" if drop_background else None,
        "reading.cache": cache and f"'{cache.absolute()}'",
        "reading.cache_size": cache_size and f'"{cache_size}"',
    }
    return [f"{name}={value}" for name, value in values.items() if value is not None]
