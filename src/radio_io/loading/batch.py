"""What the loader is asked for and what the trainer gets.

Comes in: nothing. Goes out: `LoaderConfig` (how to batch and decode) and `Pack` (images as rows of patches, arrays
of NumPy or tensors of torch). Refuses values that cannot
be meant, with a `UsageError`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray

from radio_io.errors import UsageError
from radio_io.loading.reading import ReadConfig

ArrayT = TypeVar("ArrayT", bound="HasShape")


class HasShape(Protocol):
    """An array of NumPy or a tensor of torch."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        ...


RESOLUTIONS = {"1": 0, "1/2": 1, "1/4": 2, "1/8": 3}
"""What `--resolution` accepts, and how many times each halves the image."""


class BatchPolicy(StrEnum):
    """How the images of a step become packs."""

    PACKED = "packed"
    """Whole images fill fixed token budgets: one static shape, no padding beyond the patch."""
    BINS = "bins"
    """All images of a pack are padded to one bin, the same on all ranks (Dynamic Batch Binning)."""


class ScaleMode(StrEnum):
    """Which pixel values become 0 and 1."""

    PERCENTILE = "percentile"
    """The 0.5th and the 99.5th percentile of the image, from the index."""
    BITS = "bits"
    """0 and the largest value that the image's bits can hold."""


class Decoder(StrEnum):
    """What turns encoded bytes into pixels; all give the same."""

    THREADS = "threads"
    """Our codecs on threads."""
    DALI_CPU = "dali-cpu"
    """NVIDIA DALI on threads: what runs on a machine without a GPU."""
    DALI_GPU = "dali-gpu"
    """NVIDIA DALI on the GPU, straight into the pack's memory there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderConfig:
    """How images are batched, read and decoded. Nothing here but `shuffle` changes which images a step holds.

    Attributes:
        patch_size: Side of a square patch in pixels.
        policy: `packed` or `bins`.
        token_budget: Tokens of a pack (one CLS token an image included); at least those of the largest image.
        max_images: Images of a `packed` pack at most; None chooses a bound from the size distribution.
        small_packs: Whether what is left at the end of a step goes into small packs, a second shape (`packed`).
        shuffle: False gives the images in the order of the dataset (validation, embedding).
        mask_ratio: Share of an image's patches that is masked; only `Pack.step_masked` depends on it.
        scale: Which pixel values become 0 and 1.
        background_permille: What span of a patch, in thousandths of the range that becomes 0 to 1, is background;
            it only matters to counting (see `background_counts`).
        halvings: How often each side is halved by reading only the front of each image (`--resolution 1/4` is 2).
        decoder: What decodes.
        workers: Decoding threads; None takes one a core that this process may use.
        prefetch_packs: Packs that wait decoded for the trainer at most.
        max_bad: Damaged images tolerated by this process before the run stops.
        quarantine: File to which a line is added for each damaged image.
        reading: How bytes come from storage.
    """

    patch_size: int = 48
    policy: BatchPolicy = BatchPolicy.PACKED
    token_budget: int = 24_576
    max_images: int | None = None
    small_packs: bool = True
    shuffle: bool = True
    mask_ratio: float = 0.75
    scale: ScaleMode = ScaleMode.PERCENTILE
    background_permille: int = 10
    halvings: int = 0
    decoder: Decoder = Decoder.THREADS
    workers: int | None = None
    prefetch_packs: int = 2
    max_bad: int = 100
    quarantine: Path | None = None
    reading: ReadConfig = field(default_factory=ReadConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least("patch_size", self.patch_size, 1)
        _at_least("token_budget", self.token_budget, 2)
        _at_least("prefetch_packs", self.prefetch_packs, 1)
        _at_least("max_bad", self.max_bad, 0)
        if self.workers is not None:
            _at_least("workers", self.workers, 1)
        if self.max_images is not None:
            _at_least("max_images", self.max_images, 1)
        if not 0 <= self.halvings <= max(RESOLUTIONS.values()):
            raise UsageError(
                f"found halvings={self.halvings}, expected 0 to 3; --resolution takes {', '.join(RESOLUTIONS)}"
            )
        if not 0 <= self.background_permille < 1000:
            raise UsageError(f"found background_permille={self.background_permille}, expected 0 to 999")
        if not 0 <= self.mask_ratio < 1:
            raise UsageError(f"found mask_ratio={self.mask_ratio}, expected at least 0 and less than 1")


def _at_least(name: str, found: int, least: int) -> None:
    if found < least:
        raise UsageError(f"found {name}={found}, expected at least {least}")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Pack(Generic[ArrayT]):
    """Some images of a step, as rows of patches in arrays whose shapes stay the same (`packed`).

    T is the token budget (`bins`: images times patches of the bin plus one); S the largest number of images.
    A *pad pack* has no image: it only keeps the ranks in step.

    Attributes:
        patches: [T, patch_size ** 2] uint16. A row is a patch, its pixels row by row, 0 the air side. One image
            after another, patches row by row, without those of background where these are dropped; images are padded
            with 0 at the bottom and on the right. The rows after the last image are 0. (CLS tokens count towards T, so
            at least `num_images` rows stay free.)
        positions: [T, 2] int32, (patch row, patch column) of each row.
        grids: [S, 2] int32, (patch rows, patch columns) of each image; 0 beyond `num_images`.
        offsets: [S + 1] int32, first row of each image; the last one repeats.
        scale: [S, 2] float32, (low, high) in pixel values: `x = clip((p - low) / (high - low), 0, 1)`; (0, 1) beyond
            `num_images`.
        keys: The keys of the images, in their order.
        num_images: How many.
        epoch: From 0.
        step: In the epoch, from 0.
        pack_index: Of this rank's packs of the step, from 0.
        packs_in_step: Packs of this step on every rank.
        step_images: Images of this step over all ranks (the last step of an epoch may have fewer than the others).
        step_tokens: Tokens of this step over all ranks: patches and one CLS token an image, without empty rows.
        step_masked: Masked patches of this step over all ranks, the sum of `n - int(n * (1 - mask_ratio))`.
        step_dropped: Patches of background of this step over all ranks that are in no pack.
        is_last_of_step: Whether the optimizer updates after it.
        wait_s: How long the consumer waited for it.
    """

    patches: ArrayT
    positions: ArrayT
    grids: ArrayT
    offsets: ArrayT
    scale: ArrayT
    keys: tuple[str, ...]
    num_images: int
    epoch: int
    step: int
    pack_index: int
    packs_in_step: int
    step_images: int
    step_tokens: int
    step_masked: int
    is_last_of_step: bool
    wait_s: float = 0.0
    step_dropped: int = 0

    def __repr__(self) -> str:
        rows, pixels = self.patches.shape
        return (
            f"<Pack {self.pack_index} of {self.packs_in_step}, epoch {self.epoch}, step {self.step}: "
            f"{self.num_images} images in {rows:,} rows of {pixels:,} pixels>"
        )


NumpyPack: TypeAlias = Pack[NDArray[Any]]
