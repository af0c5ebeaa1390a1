"""What packing saves: the same images packed, padded to bins, and one by one, with the same weights.

Comes in: a model, numbers of images and repetitions. Goes out: a `PolicyResult` a policy. Nothing is read from disk:
images of sizes as in the thesis are made in memory, so that only the model is measured. Each policy does forward and
backward over all images of a step; rounds of the policies alternate, so that a busy machine hurts all alike.

`bins` is the best case of padding to bins: every image in its own bin, no batch filled up. `packed` includes the rows
that stay empty. The last pack of a step holds what is left: of the 61 packs of 1,024 images that costs 0.6 %, of the 5
of 64 images it would cost 23 %. So the budget is the one near the configured that fills all packs of these few images
(`full_budget`). Losses are means over the masked patches of a step: packed and one by one must be equal; that of bins
counts padding, which is easy to predict, so `bins_packed` is the loss of the padded images in packs: equal to bins.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from radio_io.loading.batch import BatchPolicy, Pack
from radio_io.loading.packing import pack_step
from radio_train.bench_packs import alone, full_budget, own_bins, packs_of, thesis_grids, tokens_of
from radio_train.compilation import CompiledModel
from radio_train.config import PretrainConfig, load_config
from radio_train.device_speed import peak_flops
from radio_train.model.flops import pretraining_flops
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.precision import autocast, on_device

POLICIES = ("packed", "bins", "one by one")
IMAGES = 64
"""So many, drawn with seed 0, have the padding of the whole data in bins: 19 %, 1.31 times the operations."""


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
    """All policies, and the loss of the padded images in packs, which must be that of bins; `budget` is of a pack."""

    device: str
    budget: int
    policies: tuple[PolicyResult, ...]
    bins_packed_loss: float

    def ratio(self, policy: str) -> float:
        """How much longer a policy takes for an image than packing does (CPU time on a CPU, else wall time)."""
        packed, other = (next(p for p in self.policies if p.policy == name) for name in ("packed", policy))
        return other.cpu_s / packed.cpu_s if self.device == "cpu" else other.wall_s / packed.wall_s


def bench_config(preset: str, assignments: Sequence[str] = ()) -> PretrainConfig:
    """The preset, on a CPU in float32: most of them have no bf16 and spend their time on emulating it."""
    precision = "bf16" if torch.cuda.is_available() else "fp32"
    return load_config(preset, assignments=[f"run.precision={precision}", *assignments])


def bench_policies(
    config: PretrainConfig,
    *,
    images: int = IMAGES,
    rounds: int = 3,
    seed: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> BenchResult:
    """Measure the policies on the same images; on a CPU with one thread."""
    with _one_thread():
        return _bench(config, images, rounds, seed, note)


@contextlib.contextmanager
def _one_thread() -> Generator[None]:
    """Threads that wait for each other spin, which counts as CPU time: the more, the busier the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _bench(config: PretrainConfig, images: int, rounds: int, seed: int, note: Callable[[str], None]) -> BenchResult:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = MaskedAutoencoder(config.model).to(device)
    grids, bins = thesis_grids(images, seed)
    budget = full_budget(tokens_of(grids), config.data.token_budget)
    steps = {
        "packed": packs_of(config, grids, grids, pack_step(tokens_of(grids), budget, images)),
        "bins": packs_of(config, grids, bins, own_bins(bins, budget)),
        "one by one": packs_of(config, grids, grids, [alone(index, grid) for index, grid in enumerate(grids)]),
    }
    measured = {name: _Measured(config, model, packs, name, device) for name, packs in steps.items()}
    for number in range(rounds + 1):  # the first warms up
        for name, each in measured.items():
            note(f"round {number} of {rounds}: {name}")
            each.run(keep=number > 0)
    padded = packs_of(config, grids, bins, pack_step(tokens_of(bins), max(budget, 4_098), images))
    flops = sum(pretraining_flops(config.model, h * w) for h, w in grids)
    peak = peak_flops(device, config.run.precision)
    return BenchResult(
        device=device.type,
        budget=budget,
        policies=tuple(each.result(images, flops / peak) for each in measured.values()),
        bins_packed_loss=_Measured(config, model, padded, "padded", device).run(keep=False),
    )


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
            self._forward = self._compiled = CompiledModel(model, policy, device, small_packs=False)
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
