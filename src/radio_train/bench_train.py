"""What packing saves: the same images packed, padded to bins, and one by one, with the same weights.

Comes in: a model, numbers of images and repetitions. Goes out: a `PolicyResult` a policy. Nothing is read from disk:
images of sizes as in the thesis are made in memory, so that only the model is measured. Each policy does forward and
backward over all images of a step; rounds of the policies alternate, so that a busy machine hurts all alike.

`bins` is the best case of padding to bins: every image in its own bin, no batch filled up. `packed` includes the rows
that stay empty. Losses are means over the masked patches of a step: packed and one by one must be equal; that of bins
counts padding, which is easy to predict, so `bins_packed` is the loss of the padded images in packs: equal to bins.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_io.loading.batch import BatchPolicy, Pack
from radio_io.loading.packing import PlannedPack, pack_step
from radio_io.sharding.bins import DEFAULT_NOTATION, Bins
from radio_train.compilation import CompiledModel
from radio_train.config import PretrainConfig
from radio_train.device_speed import peak_flops
from radio_train.model.flops import pretraining_flops
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack, visible_patches
from radio_train.precision import autocast, on_device

REAL_PATCH = 48
"""Sizes in patches are those of real images in patches of 48 pixels, whatever the model's patch size."""
POLICIES = ("packed", "bins", "one by one")

Grid = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyResult:
    """Medians over the rounds. Times are per image of the step; `tokens` are those computed, padding included.

    `cpu_s` is the time of all cores; `spread` half the range of `cpu_s` as a share of it; `memory_bytes` the peak
    (of the device, or of this process); `compile_s` and `graphs` are 0 without compilation.
    """

    policy: str
    images: int
    packs: int
    tokens: int
    cpu_s: float
    wall_s: float
    spread: float
    images_per_s: float
    tokens_per_s: float
    mfu: float
    memory_bytes: int
    compile_s: float
    graphs: int
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchResult:
    """All policies, and the loss of the padded images in packs, which must be that of bins."""

    device: str
    policies: tuple[PolicyResult, ...]
    bins_packed_loss: float

    def ratio(self, policy: str) -> float:
        """How much longer a policy takes for an image than packing does (CPU time on a CPU, else wall time)."""
        packed, other = (next(p for p in self.policies if p.policy == name) for name in ("packed", policy))
        return other.cpu_s / packed.cpu_s if self.device == "cpu" else other.wall_s / packed.wall_s


def bench_policies(
    config: PretrainConfig,
    *,
    images: int = 256,
    rounds: int = 3,
    seed: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> BenchResult:
    """Measure the policies on the same images."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = MaskedAutoencoder(config.model).to(device)
    grids, bins = thesis_grids(images, seed)
    budget = config.data.token_budget
    steps = {
        "packed": _packs(config, grids, grids, pack_step(_tokens(grids), budget, images)),
        "bins": _packs(config, grids, bins, own_bins(bins, budget)),
        "one by one": _packs(config, grids, grids, [_alone(index, grid) for index, grid in enumerate(grids)]),
    }
    measured = {name: _Measured(config, model, packs, name, device) for name, packs in steps.items()}
    for number in range(rounds + 1):  # the first warms up
        for name, each in measured.items():
            note(f"round {number} of {rounds}: {name}")
            each.run(keep=number > 0)
    padded = _packs(config, grids, bins, pack_step(_tokens(bins), max(budget, 4_098), images))
    flops = sum(pretraining_flops(config.model, h * w) for h, w in grids)
    peak = peak_flops(device, config.run.precision)
    return BenchResult(
        device=device.type,
        policies=tuple(each.result(images, flops / peak) for each in measured.values()),
        bins_packed_loss=_Measured(config, model, padded, "padded", device).run(keep=False),
    )


def thesis_grids(images: int, seed: int) -> tuple[list[Grid], list[Grid]]:
    """Sizes in patches as in the thesis's data, and those of their bins."""
    from radio_io.synth.sizes import REGIONS, draw_size, region_counts

    generator = np.random.default_rng(seed)
    sizes: list[Grid] = []
    for region, count in region_counts(images).items():
        for _ in range(count):
            small = bool(generator.random() < REGIONS[region].small_share)
            sizes.append(draw_size(region, generator, small=small))
    bins = Bins.parse(DEFAULT_NOTATION)
    chosen = [bins.assign(*size) for size in sizes]
    in_patches = [(-(-h // REAL_PATCH), -(-w // REAL_PATCH)) for h, w in sizes]
    padded = [(b.height // REAL_PATCH, b.width // REAL_PATCH) for b in chosen if b is not None]
    return in_patches, padded


def own_bins(bins: Sequence[Grid], budget: int) -> list[PlannedPack]:
    """Batches of images of one bin each; the last batch of a bin has fewer images, and nothing to fill it up."""
    planned: list[PlannedPack] = []
    for grid in sorted(set(bins)):
        members = [index for index, each in enumerate(bins) if each == grid]
        tokens = grid[0] * grid[1] + 1
        size = max(1, budget // tokens)
        for start in range(0, len(members), size):
            chosen = np.array(members[start : start + size], np.int64)
            planned.append(PlannedPack(images=chosen, tokens=len(chosen) * tokens, grid=grid))
    return planned


class _Measured:
    """One policy: its packs, its compiled or plain model, and what rounds took."""

    def __init__(
        self,
        config: PretrainConfig,
        model: MaskedAutoencoder,
        packs: list[Pack[Tensor]],
        name: str,
        device: torch.device,
    ) -> None:
        self._config, self._model, self._packs, self._name, self._device = config, model, packs, name, device
        self._forward: Callable[..., Tensor] = model
        self._compiled: CompiledModel | None = None
        if config.run.compile and name in POLICIES:
            policy = BatchPolicy.PACKED if name == "packed" else BatchPolicy.BINS
            self._forward = self._compiled = CompiledModel(model, policy, device)
        self._cpu_s: list[float] = []
        self._wall_s: list[float] = []
        self._memory_bytes, self._graphs, self._first_s, self._loss = 0, 0, 0.0, 0.0

    def run(self, *, keep: bool) -> float:
        """Forward and backward over all packs; the loss of the step."""
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        _reset_peak(self._device)
        graphs = self._compiled.graphs if self._compiled else 0
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for pack in self._packs:
            masked = mask_pack(on_device(pack, self._device), self._config.model, seed=0, epoch=0, longest=4_097)
            with autocast(self._config, self._device):
                share = self._forward(masked)
            share.backward()
            loss += share.detach()
        self._loss = float(loss)  # waits for the device
        taken = time.process_time() - cpu_s, time.perf_counter() - wall_s
        self._model.zero_grad(set_to_none=True)
        self._graphs += (self._compiled.graphs if self._compiled else 0) - graphs
        if keep:
            self._cpu_s.append(taken[0])
            self._wall_s.append(taken[1])
            self._memory_bytes = max(self._memory_bytes, _peak(self._device))
        else:
            self._first_s = taken[1]
        return self._loss

    def result(self, images: int, ideal_s: float) -> PolicyResult:
        """Medians; `ideal_s` is what the step would take at the device's peak."""
        cpu_s, wall_s = median(self._cpu_s), median(self._wall_s)
        tokens = sum(pack.patches.shape[0] for pack in self._packs)
        return PolicyResult(
            policy=self._name,
            images=images,
            packs=len(self._packs),
            tokens=tokens,
            cpu_s=cpu_s / images,
            wall_s=wall_s / images,
            spread=(max(self._cpu_s) - min(self._cpu_s)) / 2 / cpu_s,
            images_per_s=images / wall_s,
            tokens_per_s=tokens / wall_s,
            mfu=ideal_s / wall_s,
            memory_bytes=self._memory_bytes,
            compile_s=max(0.0, self._first_s - wall_s) if self._compiled else 0.0,
            graphs=self._graphs,
            loss=self._loss,
        )


def _tokens(grids: Sequence[Grid]) -> NDArray[np.int64]:
    return np.array([h * w + 1 for h, w in grids], np.int64)


def _alone(index: int, grid: Grid) -> PlannedPack:
    return PlannedPack(images=np.array([index], np.int64), tokens=grid[0] * grid[1] + 1, grid=grid)


def _packs(
    config: PretrainConfig, grids: Sequence[Grid], shapes: Sequence[Grid], planned: Sequence[PlannedPack]
) -> list[Pack[Tensor]]:
    """The packs of a step; image i has `grids[i]` patches of content, padded with 0 to `shapes[i]`."""
    patches = np.array([h * w for h, w in shapes])
    masked = int((patches - visible_patches(patches, config.model.mask_ratio)).sum())
    whole = {"step_images": len(shapes), "step_tokens": int(patches.sum()) + len(shapes), "step_masked": masked}
    most = max(len(pack.images) for pack in planned)
    return [
        _pack(config.model.patch_size, grids, shapes, pack, most if pack.grid is None else len(pack.images), whole)
        for pack in planned
    ]


def _pack(
    patch: int,
    grids: Sequence[Grid],
    shapes: Sequence[Grid],
    planned: PlannedPack,
    slots: int,
    whole: dict[str, int],
) -> Pack[Tensor]:
    pixels = np.zeros((planned.tokens, patch * patch), np.uint16)
    positions = np.zeros((planned.tokens, 2), np.int32)
    sizes = np.zeros((slots, 2), np.int32)
    offsets = np.zeros(slots + 1, np.int32)
    start = 0
    for number, index in enumerate(planned.images.tolist()):
        (h, w), (rows, columns) = grids[index], shapes[index]
        image = np.zeros((rows, columns, patch * patch), np.uint16)
        image[:h, :w] = _content(index, h, w, patch)
        end = start + rows * columns
        pixels[start:end] = image.reshape(rows * columns, -1)
        positions[start:end] = np.stack([np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)], 1)
        sizes[number], offsets[number + 1 :] = (rows, columns), end
        start = end
    return Pack(
        patches=torch.from_numpy(pixels),
        positions=torch.from_numpy(positions),
        grids=torch.from_numpy(sizes),
        offsets=torch.from_numpy(offsets),
        scale=torch.tensor([[0.0, 4_095.0]]).repeat(slots, 1),
        keys=tuple(f"{index:032x}" for index in planned.images.tolist()),
        num_images=len(planned.images),
        epoch=0,
        step=0,
        pack_index=0,
        packs_in_step=1,
        is_last_of_step=True,
        **whole,
    )


def _content(index: int, h: int, w: int, patch: int) -> NDArray[np.uint16]:
    """[h, w, pixels]: a bright ellipse with noise, which 12 bits hold."""
    generator = np.random.default_rng(index)
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    bright = 2_000 * np.clip(1 - x**2 - y**2, 0, 1)[..., None] + 500
    return (bright + generator.integers(0, 500, (h, w, patch * patch))).astype(np.uint16)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:  # Linux then counts the peak of this process anew
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1_024
