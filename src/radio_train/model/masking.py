"""Which patches the encoder sees: a pack becomes a masked pack of static shape.

Comes in: a `Pack` from the loader, the mask ratio, seed and epoch. Goes out: `MaskedPack`: index arrays and pixels with
shapes that depend on the pack's shape alone. The noise of an image depends on seed, epoch and its key alone: packing
and the number of ranks do not matter.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022 (random masking by sorted noise).
"""

import hashlib
import math
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_io.loading.batch import Pack
from radio_io.loading.packing import visible_patches
from radio_train.model.config import MaeConfig
from radio_train.model.positions import source_coordinates


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedPack:
    """What the model computes on. E encoder rows, T decoder rows, M masked patches; unused rows are padding.

    Attributes:
        visible: [E, pixels] float, 0 to 1; 0 at CLS and padding rows.
        target: [M, pixels] float, the masked patches.
        encoder_coordinates, decoder_coordinates: [E, 2], [T, 2] float, places in the base grid.
        encoder_is_cls, decoder_is_cls: [E], [T] bool.
        decoder_source: [T] int64, row of the encoder's output that a decoder row takes; -1 takes the mask token.
        target_row: [M] int64, the decoder row that predicts a target.
        weight: [M] float, of a target in the loss; the weights of all packs of a step add up to 1; 0 at padding.
        encoder_offsets, decoder_offsets: int32, segments of attention; padding has segments of its own.
        encoder_max, decoder_max: no segment is longer.
    """

    visible: Tensor
    target: Tensor
    encoder_coordinates: Tensor
    decoder_coordinates: Tensor
    encoder_is_cls: Tensor
    decoder_is_cls: Tensor
    decoder_source: Tensor
    target_row: Tensor
    weight: Tensor
    encoder_offsets: Tensor
    decoder_offsets: Tensor
    encoder_max: int
    decoder_max: int

    def to(self, device: torch.device) -> "MaskedPack":
        """The same on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {
            name: value.to(device, non_blocking=True) for name, value in moved.items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


def mask_noise(key: str, count: int, *, seed: int, epoch: int) -> NDArray[np.float64]:
    """[count] uniform numbers of one image in one epoch, from a counter-based generator."""
    digest = hashlib.sha256(f"radio-mask-v1 {seed} {epoch} {key}".encode()).digest()
    words = np.frombuffer(digest[:16], np.uint64)
    raw = np.random.Philox(key=words).random_raw(count)  # NumPy keeps this stream across versions, others it may not
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def budgets(tokens: int, max_images: int, mask_ratio: float) -> tuple[int, int]:
    """Encoder rows and masked patches that always suffice for packs of this shape."""
    keep = 1 - mask_ratio
    encoder = math.floor(tokens * keep + mask_ratio * max_images)
    masked = math.floor(tokens * mask_ratio + keep * max_images) + 1
    return min(encoder, tokens), min(masked, tokens)


def patch_counts(pack: Pack[Tensor]) -> list[int]:
    """How many patches of each image are in a pack."""
    return pack.offsets[: pack.num_images + 1].diff().tolist()


def masked_patches(pack: Pack[Tensor], config: MaeConfig) -> int:
    """How many patches of a pack are masked."""
    return sum(count - visible_patches(count, config.mask_ratio) for count in patch_counts(pack))


def mask_pack(
    pack: Pack[Tensor],
    config: MaeConfig,
    *,
    seed: int,
    epoch: int,
    dtype: torch.dtype = torch.float32,
    longest: int | None = None,
    trim: bool = False,
) -> MaskedPack:
    """The masked pack of a pack, on the device of its patches; only index arrays are made on the host.

    `longest` bounds the tokens of an image. It is a constant of the compiled graph: give the largest of the dataset.
    None takes the base grid's, or the pack's for a pack with a larger image. `trim` leaves out the rows that only fill
    up the pack: less to compute where nothing is compiled, and no static shape.
    """
    tokens, max_images = pack.patches.shape[0], pack.grids.shape[0]
    if trim and pack.num_images:
        tokens = int(pack.offsets[pack.num_images]) + pack.num_images
        encoder_rows, masked_rows = budgets(tokens, pack.num_images, config.mask_ratio)
    else:
        encoder_rows, masked_rows = budgets(tokens, max_images, config.mask_ratio)
    builder = _Builder(tokens, encoder_rows, masked_rows)
    offsets, positions, grids = pack.offsets.cpu().numpy(), pack.positions.cpu().numpy(), pack.grids.cpu().numpy()
    for image in range(pack.num_images):
        start, end = int(offsets[image]), int(offsets[image + 1])
        height, width = grids[image].tolist()
        # For the whole grid, so that dropping background changes no other patch's number.
        whole = mask_noise(pack.keys[image], height * width, seed=seed, epoch=epoch)
        noise = whole[positions[start:end, 0] * width + positions[start:end, 1]]
        coordinates = source_coordinates(positions[start:end], grids[image], config.base_grid)
        builder.add(image, start, noise, visible_patches(end - start, config.mask_ratio), coordinates)
    weight = builder.weights(pack, config.weighting)
    device = pack.patches.device
    if longest is None:
        base = config.base_grid**2 + 1
        longest = tokens if max(builder.lengths, default=0) > base else base
    assert longest >= max(builder.lengths, default=0)

    def pixels(rows: NDArray[np.int64], images: NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(np.maximum(rows, 0)).to(device)
        scale = pack.scale[torch.from_numpy(images).to(device)].to(dtype)
        low, high = scale[:, :1], scale[:, 1:]
        gathered = pack.patches.view(torch.int16)[index].to(torch.int32) & 0xFFFF  # indexing knows no uint16
        values = ((gathered.to(dtype) - low) / (high - low)).clamp(0, 1)
        return values * torch.from_numpy(rows >= 0).to(device)[:, None]

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return MaskedPack(
        visible=pixels(builder.visible_row, builder.visible_image),
        target=pixels(builder.masked_patch, builder.masked_image),
        encoder_coordinates=tensor(builder.encoder_coordinates).to(dtype),
        decoder_coordinates=tensor(builder.decoder_coordinates).to(dtype),
        encoder_is_cls=tensor(builder.encoder_is_cls),
        decoder_is_cls=tensor(builder.decoder_is_cls),
        decoder_source=tensor(builder.decoder_source),
        target_row=tensor(builder.target_row),
        weight=tensor(weight).to(dtype),
        encoder_offsets=tensor(_segments(builder.encoder_ends, encoder_rows, max_images, longest)),
        decoder_offsets=tensor(_segments(builder.decoder_ends, tokens, max_images, longest)),
        encoder_max=longest,
        decoder_max=longest,
    )


class _Builder:
    """Fills the index arrays, image after image."""

    def __init__(self, tokens: int, encoder_rows: int, masked_rows: int) -> None:
        self.visible_row = np.full(encoder_rows, -1, np.int64)
        self.visible_image = np.zeros(encoder_rows, np.int64)
        self.masked_patch = np.full(masked_rows, -1, np.int64)
        self.masked_image = np.zeros(masked_rows, np.int64)
        self.encoder_coordinates = np.zeros((encoder_rows, 2))
        self.decoder_coordinates = np.zeros((tokens, 2))
        self.encoder_is_cls = np.zeros(encoder_rows, np.bool_)
        self.decoder_is_cls = np.zeros(tokens, np.bool_)
        self.decoder_source = np.full(tokens, -1, np.int64)
        self.target_row = np.zeros(masked_rows, np.int64)
        self.encoder_ends, self.decoder_ends, self.masked_counts = [0], [0], list[int]()
        self._masked = 0

    def add(
        self, image: int, start: int, noise: NDArray[np.float64], keep: int, coordinates: NDArray[np.float64]
    ) -> None:
        """Place one image whose patches begin at row `start` of the pack."""
        order = np.argsort(noise, kind="stable")
        kept, masked = np.sort(order[:keep]), np.sort(order[keep:])
        encoder, decoder, count = self.encoder_ends[-1], self.decoder_ends[-1], len(masked)
        rows = slice(encoder + 1, encoder + 1 + keep)
        self.encoder_is_cls[encoder] = self.decoder_is_cls[decoder] = True
        self.visible_row[rows], self.visible_image[rows] = start + kept, image
        self.encoder_coordinates[rows] = coordinates[kept]
        self.decoder_coordinates[decoder + 1 : decoder + 1 + len(noise)] = coordinates
        self.decoder_source[decoder] = encoder
        self.decoder_source[decoder + 1 + kept] = encoder + 1 + np.arange(keep)
        targets = slice(self._masked, self._masked + count)
        self.masked_patch[targets], self.masked_image[targets] = start + masked, image
        self.target_row[targets] = decoder + 1 + masked
        self._masked += count
        self.encoder_ends.append(encoder + 1 + keep)
        self.decoder_ends.append(decoder + 1 + len(noise))
        self.masked_counts.append(count)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each image."""
        return [end - start for start, end in pairwise(self.decoder_ends)]

    def weights(self, pack: Pack[Tensor], weighting: str) -> NDArray[np.float64]:
        """[M] weights that add up to 1 over all packs of the step."""
        weight = np.zeros(len(self.target_row))
        start = 0
        for count in self.masked_counts:  # 0 where nothing is masked
            whole = pack.step_masked if weighting == "token" else count * pack.step_images
            weight[start : start + count] = 1 / max(whole, 1)
            start += count
        return weight


def _segments(ends: list[int], total: int, max_images: int, longest: int) -> NDArray[np.int32]:
    """Offsets of fixed length: images, then the padding in segments of at most `longest`, then empty segments."""
    offsets = list(ends)
    while offsets[-1] < total:
        offsets.append(min(offsets[-1] + longest, total))
    length = max_images + 2 + -(-total // longest)
    return np.array(offsets + [total] * (length - len(offsets)), np.int32)
