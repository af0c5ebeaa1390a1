"""Leaving out patches of background (`--drop-background`): counted at the first use, then planned for.

Comes in: a configuration, a dataset, a selection. Goes out: tables with the patches that are kept of each image.
Refuses to train on several ranks before the images are counted, with a `UsageError` that names the command.

Training and validation leave the same patches out. The images of sheets are counted when they are drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radio_io.checksum import crc32_of
from radio_io.errors import DatasetError, TrainingError, UsageError
from radio_io.loading.background_counts import count_background, uncounted, with_kept, with_kept_now
from radio_io.loading.background_file import BackgroundFile
from radio_io.loading.table import ImageTable, Rows
from radio_io.progress import NoProgress, Progress
from radio_train.config import PretrainConfig
from radio_train.distributed import Ranks
from radio_train.run_folder import Selection, load_table, loader_config


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundSummary:
    """What leaving out background saves of training: `tokens` are left of `all_tokens`, `share` is saved.

    `counted` images were looked at now, the others earlier; `file` remembers them.
    """

    images: int
    counted: int
    tokens: int
    all_tokens: int
    share: float
    file: str


def count_selection(
    config: PretrainConfig, dataset: Path, selection: Selection, progress: Progress | None = None
) -> BackgroundSummary:
    """Count the training images of a selection, and the validation images that a run looks at.

    Raises:
        DatasetError: No image is selected.
        StorageError: The dataset's folder cannot be written.
    """
    loading = loader_config(config)
    parts = list(_tables(config, dataset, selection))
    counted = _count(config, dataset, parts, progress)
    table, rows = parts[0]
    whole = int(table.patches_of(rows, loading.patch_size).sum()) + len(rows)
    left = int(with_kept(dataset, table, loading, rows).patches_of(rows, loading.patch_size).sum()) + len(rows)
    return BackgroundSummary(
        images=len(rows),
        counted=counted,
        tokens=left,
        all_tokens=whole,
        share=1 - left / whole,
        file=str(BackgroundFile(dataset, loading).path),
    )


def prepare_background(
    config: PretrainConfig,
    dataset: Path,
    selection: Selection,
    table: ImageTable,
    ranks: Ranks,
    *,
    progress: Progress | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> ImageTable:
    """The training images of a run with the patches that are kept of each; what is not counted yet is counted now.

    Raises:
        UsageError: They are not, and there are several ranks: they would wait for one of them for hours.
        StorageError: The dataset's folder cannot be written.
        TrainingError: Another process changed the counts while the ranks started.
    """
    if not config.data.drop_background:
        return table
    loading = loader_config(config)
    parts = list(_tables(config, dataset, selection))
    missing = sum(len(uncounted(dataset, images, loading, rows)) for images, rows in parts)
    if missing and ranks.world_size > 1:
        raise UsageError(
            f"the background of {missing:,} images is not counted yet, which several ranks need before they start; run "
            "radio train background with the same options first, without torchrun"
        )
    if missing:
        note(f"counting the background of {missing:,} images, once for this patch size, resolution and threshold")
    if ranks.world_size == 1:
        _count(config, dataset, parts, progress)
    table = without_background(config, dataset, table, np.arange(len(table)))
    _require_same(table, ranks)
    return table


def without_background(config: PretrainConfig, dataset: Path, table: ImageTable, rows: Rows) -> ImageTable:
    """The table with the patches that are kept of `rows`, where the configuration drops background."""
    if not config.data.drop_background:
        return table
    return with_kept(dataset, table, loader_config(config), rows)


def without_background_now(config: PretrainConfig, dataset: Path, table: ImageTable, rows: Rows) -> ImageTable:
    """The same for a few images, counted where need be."""
    if not config.data.drop_background:
        return table
    return with_kept_now(dataset, table, loader_config(config), rows)


def _count(
    config: PretrainConfig, dataset: Path, parts: Sequence[tuple[ImageTable, Rows]], progress: Progress | None
) -> int:
    """Count what is not known yet, images that did not decode included; how many that were."""
    loading = loader_config(config)
    return sum(count_background(dataset, table, loading, rows, progress or NoProgress()) for table, rows in parts)


def _tables(config: PretrainConfig, dataset: Path, selection: Selection) -> Iterator[tuple[ImageTable, Rows]]:
    """The images of training, then those of validation; of each the rows that a run looks at."""
    table = load_table(config, dataset, "train", selection)
    yield table, np.arange(len(table))
    try:
        table = load_table(config, dataset, "val", selection)
    except DatasetError:
        return
    yield table, np.arange(min(len(table), config.run.validation_images))


def _require_same(table: ImageTable, ranks: Ranks) -> None:
    """Refuse ranks that would plan different packs."""
    found = ranks.gather([crc32_of(np.ascontiguousarray(table.kept).data)])
    if len({tuple(each) for each in found}) > 1:
        raise TrainingError("the ranks found different counts of background; another process counts: start again")
