"""What the encoder makes of each image: vectors by key, as Parquet.

Comes in: weights, a dataset, a selection. Goes out: a Parquet file with the columns `key`, `cls` and `mean` (lists of
numbers as long as the encoder is wide), to be joined by `key`. Nothing is masked, and images have any size.
Finished parts lie in a folder beside the file until all are there, so an interrupted run goes on where it was. Refuses
parts that come from other weights, images or settings.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.errors import UsageError
from radio_io.loading.batch import RESOLUTIONS, LoaderConfig, ScaleMode
from radio_io.loading.order import OrderState, steps_per_epoch
from radio_io.loading.table import ImageTable, load_image_table
from radio_io.loading.torch_loader import PackLoader, TensorPack
from radio_io.progress import NoProgress, Progress
from radio_train.import_weights import describe_model, initialize, load_weights
from radio_train.model.heads import Pooling, pool
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack

PART_IMAGES = 1_024
"""Images of a part: what an interruption costs at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig:
    """Which images, and how.

    `split` and `where` select (None: all); `precision` of the numbers is 16 or 32 bits; `resolution` is 1, 1/2, 1/4 or
    1/8; `token_budget` tokens are encoded at once, or those of the largest image.
    """

    split: str | None = None
    where: str | None = None
    precision: int = 16
    resolution: str = "1"
    scale: str = "percentile"
    token_budget: int = 24_576

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.precision not in (16, 32):
            raise UsageError(f"found precision={self.precision}, expected 16 or 32")
        if self.resolution not in RESOLUTIONS:
            raise UsageError(f"found resolution={self.resolution!r}, expected one of {', '.join(RESOLUTIONS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedSummary:
    """What was written: images with a vector, damaged images without, and the width of a vector."""

    path: str
    images: int
    bad_images: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Vectors:
    """Vectors of some images: [n, width] float32 each."""

    keys: tuple[str, ...]
    cls: NDArray[np.float32]
    mean: NDArray[np.float32]


def embed(
    weights: Path, dataset: Path, out: Path, config: EmbedConfig | None = None, progress: Progress | None = None
) -> EmbedSummary:
    """Write the vectors of all selected images to `out`.

    Args:
        weights: A run folder, a checkpoint, an export or a folder of Hugging Face.
        dataset: The dataset's folder.
        out: The Parquet file; one that is there is replaced.
        config: Selection and settings.
        progress: Is told of finished images.

    Raises:
        UsageError: There are no weights, or the parts beside `out` are of another call.
        DatasetError: No image is selected.
    """
    chosen, told = config or EmbedConfig(), progress or NoProgress()
    model = _load(weights)
    table = load_image_table(dataset, chosen.split, where=chosen.where, halvings=RESOLUTIONS[chosen.resolution])
    parts = out.with_name(f"{out.name}.parts")
    _prepare(parts, _identity(model, table, chosen))
    done = sorted(parts.glob("part-*.parquet"))
    told.start("embedding", total=len(table), unit="images")
    told.advance(min(len(done) * PART_IMAGES, len(table)))
    for step, vectors in _steps(model, dataset, table, chosen, first=len(done)):
        with atomic.staged(parts / f"part-{step:06}.parquet") as temp:
            pq.write_table(_as_table(vectors, chosen.precision), temp)
        told.advance(min(PART_IMAGES, len(table) - step * PART_IMAGES))
    images = _join(sorted(parts.glob("part-*.parquet")), out)
    shutil.rmtree(parts)
    told.finish()
    return EmbedSummary(path=str(out), images=images, bad_images=len(table) - images, width=model.config.hidden_size)


def embed_pack(model: MaskedAutoencoder, pack: TensorPack) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """CLS and mean vectors of a pack's images: [images, width] each."""
    whole = replace(model.config, mask_ratio=0.0)
    device = next(model.parameters()).device
    images = pack.grids.shape[0]
    with torch.inference_mode():
        masked = mask_pack(pack, whole, seed=0, epoch=0).to(device)
        tokens = model.vit(masked)  # [E, width]
        cls, mean = (pool(tokens, masked, images, pooling)[: pack.num_images] for pooling in Pooling)
    return cls.float().cpu().numpy(), mean.float().cpu().numpy()


def _load(weights: Path) -> MaskedAutoencoder:
    model = MaskedAutoencoder(describe_model(weights))
    initialize(model, load_weights(weights))
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _steps(
    model: MaskedAutoencoder, dataset: Path, table: ImageTable, config: EmbedConfig, *, first: int
) -> Iterator[tuple[int, _Vectors]]:
    """The vectors of each part from the first missing one on."""
    last = steps_per_epoch(len(table), PART_IMAGES) - 1
    if first > last:
        return
    patch_size = model.config.patch_size
    largest = int(table.grids(patch_size).prod(axis=1).max()) + 1
    loading = LoaderConfig(
        patch_size=patch_size,
        token_budget=max(config.token_budget, largest),
        shuffle=False,
        mask_ratio=0.0,
        scale=ScaleMode(config.scale),
        halvings=RESOLUTIONS[config.resolution],
    )
    order = OrderState(seed=0, step=first, step_images=PART_IMAGES)
    found: list[_Vectors] = []
    with PackLoader(dataset, table, loading, order) as loader:
        for pack in loader:
            if pack.num_images:
                cls, mean = embed_pack(model, pack)
                found.append(_Vectors(keys=pack.keys, cls=cls, mean=mean))
            if pack.is_last_of_step:
                yield pack.step, _joined(found, model.config.hidden_size)
                found = []
                if pack.step == last:
                    return


def _joined(found: list[_Vectors], width: int) -> _Vectors:
    nothing = np.zeros((0, width), np.float32)
    return _Vectors(
        keys=tuple(key for each in found for key in each.keys),
        cls=np.concatenate([nothing, *(each.cls for each in found)]),
        mean=np.concatenate([nothing, *(each.mean for each in found)]),
    )


def _as_table(vectors: _Vectors, precision: int) -> pa.Table:  # pyright: ignore[reportUnknownParameterType] - pyarrow has no types
    order = np.argsort(np.array(vectors.keys, dtype=np.str_))  # packs are filled by size; parts are not
    number = np.float16 if precision == 16 else np.float32

    def column(values: NDArray[np.float32]) -> pa.FixedSizeListArray:  # pyright: ignore[reportUnknownParameterType] - the same
        return pa.FixedSizeListArray.from_arrays(pa.array(values[order].astype(number).ravel()), values.shape[1])

    keys = pa.array([vectors.keys[index] for index in order], pa.string())
    return pa.table({"key": keys, "cls": column(vectors.cls), "mean": column(vectors.mean)})


def _identity(model: MaskedAutoencoder, table: ImageTable, config: EmbedConfig) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.vit.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    values = {"weights": digest.hexdigest(), "images": table.digest(), **asdict(config)}
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _prepare(parts: Path, identity: str) -> None:
    """Begin a folder of parts, or go on with one."""
    path = parts / "identity.json"
    if not path.exists():
        atomic.make_folder(parts)
        atomic.write_file(path, identity.encode())
    elif path.read_text(encoding="utf-8") != identity:
        raise UsageError(
            f"{parts} holds parts of other weights, images or settings; remove it, or name another file with --out"
        )
    atomic.remove_leftovers(parts)


def _join(parts: Iterable[Path], out: Path) -> int:
    """One file of all parts, one part in memory at a time; returns the number of images."""
    files = [pq.ParquetFile(part) for part in parts]
    with atomic.staged(out) as temp, pq.ParquetWriter(temp, files[0].schema_arrow) as writer:
        for file in files:
            writer.write_table(file.read())
    return sum(file.metadata.num_rows for file in files)
