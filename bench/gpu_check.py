"""What the GPU makes of the model: attention in segments, CUDA graphs, utilisation. Needs torch and numpy alone.

    python bench/gpu_check.py                     attention, then vit-mae-b48 packed and in bins, eager and compiled
    python bench/gpu_check.py --dataset shards    the same, then training fed from shards (needs the whole package)

Checks that stop at the first that fails: `varlen_attn` in segments, empty ones among them, against plain attention for
each segment, forward and backward, with heads of 32 and 64, eagerly and replayed as one CUDA graph with other segments.
Then measures, beside the targets for an H100: at least 40 % MFU, 700 images/s, at most 2 % of the time waiting for
data. Without a CUDA device it says so, measures nothing and ends with code 2.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

PROJECT = Path(__file__).resolve().parent.parent
READING = ("duckdb", "fsspec", "imagecodecs", "pebble", "pyarrow", "pydicom", "safetensors", "typer")
"""Packages that only reading data needs; where they are missing, modules that mention them still load."""
NO_GPU = 2
DEVICE = "cuda"
MFU_TARGET, RATE_TARGET, WAIT_TARGET = 0.40, 700.0, 0.02


class _Absent(types.ModuleType):
    """Stands for a package that is not installed and not needed here."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")

    def __call__(self, *arguments: Any, **options: Any) -> "_Absent":
        return self

    def __or__(self, other: object) -> "_Absent":
        return self

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (Exception,)


class AbsentFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages of `READING`; asked last, so only where they are missing."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """A stand-in for the packages, nothing for others."""
        if name.split(".")[0] in READING:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """The stand-in."""
        return _Absent(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: there is nothing in it."""


def main() -> None:
    """Parse the arguments, check, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="images of a measured step")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds; the median counts")
    parser.add_argument("--dataset", type=Path, help="shards to train from, for images/s and waiting")
    parser.add_argument("--steps", type=int, default=12, help="training steps with --dataset")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"no CUDA device (torch {torch.__version__}): nothing was checked and nothing measured", file=sys.stderr)
        sys.exit(NO_GPU)
    sys.path.insert(0, str(PROJECT / "src"))
    sys.meta_path.append(AbsentFinder())
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    for size in (32, 64):
        check_attention(size)
        check_graph(size)
    measure_model(arguments.images, arguments.rounds)
    if arguments.dataset is None:
        print("training from shards was not measured: name some with --dataset")
    else:
        measure_training(arguments.dataset, arguments.steps)


def segments(lengths: list[int], slots: int) -> Tensor:
    """[slots + 1] int32 offsets; slots beyond the lengths are empty segments at the end."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    padded = np.concatenate([ends, np.full(slots + 1 - len(ends), ends[-1])])
    return torch.from_numpy(padded.astype(np.int32))


def plain_attention(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> Tensor:
    """Attention for each segment by itself, in float32."""
    parts = []
    places = offsets.tolist()
    for start, end in pairwise(places):
        if end > start:
            one = (x[start:end].transpose(0, 1).float() for x in (q, k, v))
            parts.append(functional.scaled_dot_product_attention(*one).transpose(0, 1))
    return torch.cat(parts)


LENGTHS = ([700, 0, 1, 523, 0, 800], [1, 2023], [2024], [300, 300, 300, 300, 300, 300, 224])
"""Segments of 2,024 tokens: empty ones between and at the end, single tokens, one image, many."""
TOKENS, SLOTS, HEADS = 2_024, 8, 4


def inputs(size: int, seed: int) -> list[Tensor]:
    """Queries, keys, values and the gradient of the output, bf16."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    made = [torch.randn(TOKENS, HEADS, size, device=DEVICE, generator=generator).bfloat16() for _ in range(4)]
    return [x.requires_grad_(number < 3) for number, x in enumerate(made)]


def attention_step(q: Tensor, k: Tensor, v: Tensor, gradient: Tensor, offsets: Tensor) -> tuple[Tensor, ...]:
    """Output, and the gradients of queries, keys and values."""
    from radio_train.model.attention import segment_attention

    output = segment_attention(q, k, v, offsets, TOKENS)
    return (output, *torch.autograd.grad(output, (q, k, v), gradient))


def compare(found: tuple[Tensor, ...], size: int, lengths: list[int], seed: int, what: str) -> None:
    """Stop unless everything is equal to plain attention as far as bf16 goes."""
    q, k, v, gradient = inputs(size, seed)
    output = plain_attention(q, k, v, segments(lengths, SLOTS))
    wanted = (output, *torch.autograd.grad(output, (q, k, v), gradient.float()))
    for name, mine, other in zip(("output", "dq", "dk", "dv"), found, wanted, strict=True):
        mine, other = mine.detach().float(), other.detach().float()
        error = float((mine - other).abs().max() / other.abs().max())
        if not error < 0.02:  # bf16 has 8 bits: 0.4 % for each rounding
            sys.exit(f"{what}, head size {size}, segments {lengths}: {name} differs by {error:.2%}")


def check_attention(size: int) -> None:
    """Eager attention in segments, forward and backward."""
    for seed, lengths in enumerate(LENGTHS):
        compare(
            attention_step(*inputs(size, seed), segments(lengths, SLOTS).to(DEVICE)), size, lengths, seed, "attention"
        )
    print(
        f"attention, head size {size}: {len(LENGTHS)} divisions, empty segments among them: as for each segment alone"
    )


def check_graph(size: int) -> None:
    """One CUDA graph of forward and backward, replayed for other segments and other values."""
    still = inputs(size, 0)
    offsets = segments(LENGTHS[0], SLOTS).cuda()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            attention_step(*still, offsets)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = attention_step(*still, offsets)
    for seed, lengths in enumerate(LENGTHS):
        with torch.no_grad():
            for kept, new in zip(still, inputs(size, seed), strict=True):
                kept.copy_(new)
        offsets.copy_(segments(lengths, SLOTS))
        graph.replay()
        compare(tuple(result.detach().clone() for result in results), size, lengths, seed, "CUDA graph")
    print(f"CUDA graph, head size {size}: one capture, {len(LENGTHS)} divisions: as for each segment alone")


def measure_model(images: int, rounds: int) -> None:
    """MFU of `vit-mae-b48` for each policy, without and with compiling."""
    if importlib.util.find_spec("pydicom") is None or "pydicom" in sys.modules:
        package = types.ModuleType("radio_io.synth")  # its sizes need NumPy alone, the package around them more
        package.__path__ = [str(PROJECT / "src/radio_io/synth")]
        sys.modules.setdefault("radio_io.synth", package)
    from radio_train.bench_train import bench_policies
    from radio_train.config import PretrainConfig

    base = PretrainConfig()
    for compiled in (False, True):
        config = replace(base, run=replace(base.run, compile=compiled))
        result = bench_policies(config, images=images, rounds=rounds)
        print(f"\nvit-mae-b48, bf16, {images} images, {'compiled' if compiled else 'eager'}")
        print("policy        MFU     images/s  tokens/s    memory GB  compile s  graphs  time")
        for each in result.policies:
            print(
                f"{each.policy:12}  {each.mfu:6.1%}  {each.images_per_s:8.1f}  {each.tokens_per_s:10,.0f}  "
                f"{each.memory_bytes / 1e9:9.1f}  {each.compile_s:9.1f}  {each.graphs:6}  "
                f"{result.ratio(each.policy):.2f}x"
            )
        best = result.policies[0]
        verdict("MFU, packed", best.mfu, MFU_TARGET, at_least=True, show=lambda value: f"{value:.1%}")
        verdict("images/s, packed", best.images_per_s, RATE_TARGET, at_least=True, show=lambda value: f"{value:.0f}")


def measure_training(dataset: Path, steps: int) -> None:
    """Images/s and waiting of training from shards, with threads that decode and with DALI on the GPU."""
    import tempfile

    from radio_train.config import load_config
    from radio_train.pretrain import run_pretrain

    for decoder in ("threads", "dali-gpu"):
        if decoder != "threads" and importlib.util.find_spec("nvidia.dali") is None:
            print(f"\ntraining from {dataset} with {decoder} was not measured: nvidia-dali is not installed")
            continue
        settings = [f"run.max_steps={steps}", "run.compile=true", f"reading.decoder={decoder}"]
        seen: list[Any] = []
        with tempfile.TemporaryDirectory() as folder:
            config = load_config("vit-mae-b48", assignments=settings)
            run_pretrain(config, dataset, Path(folder) / "run", report=seen.append)
        warm = seen[2:] or seen
        seconds = sum(each.seconds for each in warm)
        rate = sum(each.images for each in warm) / seconds
        wait = sum(each.data_wait * each.seconds for each in warm) / seconds
        print(f"\ntraining from {dataset} with {decoder}, {len(warm)} steps of {warm[0].images} images")
        verdict("images/s", rate, RATE_TARGET, at_least=True, show=lambda value: f"{value:.0f}")
        verdict("waiting for data", wait, WAIT_TARGET, at_least=False, show=lambda value: f"{value:.1%}")


def verdict(name: str, found: float, target: float, *, at_least: bool, show: Callable[[float], str]) -> None:
    """Print a number beside its target."""
    met = found >= target if at_least else found <= target
    bound = "at least" if at_least else "at most"
    print(f"{name}: {show(found)}, target for an H100 {bound} {show(target)}: {'met' if met else 'not met'}")


if __name__ == "__main__":
    main()
