"""What is installed here and whether it works: packages, codecs, GPU, DALI, disk, limits.

Comes in: nothing, or the folder that datasets go to. Goes out: `Finding`s, each with a verdict and, where it is bad,
what to do. Refuses nothing: whatever fails is a finding. Neither host names nor paths are among them.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - looked at, not written to
LEAST_FREE_BYTES: Final = 20 * 10**9
LEAST_SHM_BYTES: Final = 1 << 30
LEAST_OPEN_FILES: Final = 4096
_REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9_.-]+)([^;]*)(?:;(.*))?$")
_EXTRA: Final = re.compile(r"extra == ['\"](\w+)['\"]")
_BOUND: Final = re.compile(r"(>=|<|==)\s*([0-9][0-9.]*)")
_FOR_DEVELOPERS: Final = frozenset({"dev", "oracle"})


class Verdict(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    ABSENT = "absent"
    """Optional, and not there."""
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    group: str
    name: str
    found: str
    verdict: Verdict = Verdict.OK
    advice: str = ""


def inspect_installation(folder: Path | None = None) -> tuple[Finding, ...]:
    """Everything; `folder` is where datasets go (default: the current folder)."""
    device = (*gpu_findings(), *dali_findings())
    return (*package_findings(), *codec_findings(), *device, *system_findings(folder or Path()))


def package_findings() -> Iterator[Finding]:
    """Python and the packages that radio names, with the extra that each belongs to."""
    yield Finding(group="packages", name="python", found=platform.python_version())
    for text in importlib.metadata.requires("radio") or ():
        parsed = _REQUIREMENT.match(text)
        assert parsed is not None
        name, bounds, marker = parsed[1], parsed[2], parsed[3] or ""
        extra = _EXTRA.search(marker)
        if extra is None or extra[1] not in _FOR_DEVELOPERS:
            yield _package(name, bounds, extra[1] if extra else None)


def _package(name: str, bounds: str, extra: str | None) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        verdict = Verdict.BROKEN if extra is None else Verdict.ABSENT
        advice = f"pip install {name}" if extra is None else f"pip install 'radio[{extra}]' where it is wanted"
        return Finding(group="packages", name=name, found="not installed", verdict=verdict, advice=advice)
    if not meets(version, bounds):
        advice = f"pip install '{name}{bounds.strip()}'"
        return Finding(group="packages", name=name, found=version, verdict=Verdict.BROKEN, advice=advice)
    return Finding(group="packages", name=name, found=version)


def meets(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as `>=3.0,<4`; only their leading numbers count.

    Example:
        >>> meets("3.10.1", ">=3.0,<4"), meets("4.0", ">=3.0,<4")
        (True, False)
    """
    found = _numbers(version)
    for relation, text in _BOUND.findall(bounds):
        bound = _numbers(text)
        width = max(len(found), len(bound))
        ours, theirs = (each + (0,) * (width - len(each)) for each in (found, bound))
        if not {">=": ours >= theirs, "<": ours < theirs, "==": ours == theirs}[relation]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


def codec_findings() -> Iterator[Finding]:
    """A round trip of a picture through each codec of shards and each compression of DICOM that this can write."""
    from radio_io.codecs.registry import CODEC_NAMES, get_codec

    pixels = sample_picture()
    for name in CODEC_NAMES:
        codec = get_codec(name)
        yield _round_trip(f"shards: {name}", pixels, codec.encode, codec.decode)
    for name, encode, decode in _dicom_codecs():
        yield _round_trip(f"DICOM: {name}", pixels, encode, decode)


def sample_picture() -> NDArray[np.uint16]:
    """[61, 47] uint16 with all 16 bits in use."""
    rows, columns = np.indices((61, 47), dtype=np.uint32)
    return ((rows * 1031 + columns * columns * 29) & 0xFFFF).astype(np.uint16)


def _dicom_codecs() -> list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]:
    import imagecodecs as codecs

    return [
        ("JPEG lossless", lambda a: codecs.ljpeg_encode(a), codecs.jpeg8_decode),
        ("JPEG-LS", codecs.jpegls_encode, codecs.jpegls_decode),
        ("JPEG 2000", lambda a: codecs.jpeg2k_encode(a, level=0, reversible=True), codecs.jpeg2k_decode),
        ("HTJ2K", lambda a: codecs.htj2k_encode(a, reversible=True), codecs.htj2k_decode),
    ]


def _round_trip(
    name: str, pixels: NDArray[np.uint16], encode: Callable[[Any], Any], decode: Callable[[Any], Any]
) -> Finding:
    advice = "reinstall imagecodecs: pip install --force-reinstall imagecodecs"
    try:
        exact = np.array_equal(decode(encode(pixels)), pixels)
    except Exception as error:  # noqa: BLE001 - whatever a broken build raises is the finding
        return Finding(group="codecs", name=name, found=type(error).__name__, verdict=Verdict.BROKEN, advice=advice)
    if not exact:
        return Finding(group="codecs", name=name, found="not exact", verdict=Verdict.BROKEN, advice=advice)
    return Finding(group="codecs", name=name, found="round trip exact")


def gpu_findings() -> Iterator[Finding]:
    """CUDA devices as torch sees them, and a product computed on each."""
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        found = f"none (torch is built for CUDA {built})" if built else "none (torch is built for the CPU)"
        advice = "without one, pre-training at full size takes weeks; see docs/gpu.md"
        yield Finding(group="gpu", name="device", found=found, verdict=Verdict.ABSENT, advice=advice)
        return
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        found = f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
        try:
            ones = torch.ones(64, 64, device=f"cuda:{number}", dtype=torch.bfloat16)
            exact = bool((ones @ ones == 64).all())
        except RuntimeError as error:
            exact, found = False, f"{found}: {type(error).__name__}"
        verdict = Verdict.OK if exact else Verdict.BROKEN
        advice = "" if exact else "the driver does not fit torch's CUDA: update it, or install a build that fits"
        yield Finding(group="gpu", name=f"device {number}", found=found, verdict=verdict, advice=advice)


def dali_findings() -> Iterator[Finding]:
    """Whether DALI decodes as our codec does, on the CPU and, where there is one, on the GPU."""
    import torch

    from radio_io.loading.batch import Decoder

    if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None:
        advice = "pip install 'radio[dali]' where it is wanted"
        yield Finding(group="dali", name="import", found="not installed", verdict=Verdict.ABSENT, advice=advice)
        return
    devices = [(Decoder.DALI_CPU, None)] + ([(Decoder.DALI_GPU, 0)] if torch.cuda.is_available() else [])
    for decoder, device_id in devices:
        yield _dali(decoder, device_id)


def _dali(decoder: Any, device_id: int | None) -> Finding:  # noqa: ANN401 - Decoder, imported where it is used
    from radio_io.codecs.htj2k import HTJ2K
    from radio_io.loading.dali_assemble import DaliPipeline

    pixels = sample_picture()
    try:
        images = DaliPipeline(decoder, threads=1, device_id=device_id).decode([HTJ2K.encode(pixels)])
        found = "does not decode" if images is None else "decodes"
        exact = images is not None and np.array_equal(_host(images[0]).reshape(pixels.shape), pixels)
    except Exception as error:  # noqa: BLE001 - a driver that does not fit raises anything
        found, exact = type(error).__name__, False
    verdict = Verdict.OK if exact else Verdict.BROKEN
    advice = "" if exact else "train with reading.decoder=threads; bench/gpu_decode_check.py tells more"
    shown = f"{found} exactly" if exact else found
    return Finding(group="dali", name=decoder.value, found=shown, verdict=verdict, advice=advice)


def _host(image: Any) -> NDArray[np.uint16]:  # noqa: ANN401 - an array of NumPy or a tensor on the GPU
    return np.asarray(image.cpu().numpy() if hasattr(image, "cpu") else image)


def system_findings(folder: Path) -> Iterator[Finding]:
    """Cores, memory, space for datasets and for temporary files, shared memory, limit of open files."""
    yield Finding(group="system", name="cores", found=str(len(os.sched_getaffinity(0))))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding(group="system", name="memory", found=f"{memory / 1e9:.0f} GB")
    yield _space("space here", folder, LEAST_FREE_BYTES, "datasets and runs need more: use another folder or disk")
    temporary = Path(tempfile.gettempdir())
    yield _space(
        "space for temporary files", temporary, 10**9, "the index is built there: set TMPDIR to another folder"
    )
    if SHARED_MEMORY.is_dir():
        advice = "torch's DataLoader workers may die: docker run --shm-size 8g (radio's own loader does not need it)"
        yield _space("shared memory", SHARED_MEMORY, LEAST_SHM_BYTES, advice)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= LEAST_OPEN_FILES or soft == resource.RLIM_INFINITY
    yield Finding(
        group="system",
        name="open files",
        found=f"{soft} (at most {hard})",
        verdict=Verdict.OK if enough else Verdict.WARNING,
        advice="" if enough else f"ulimit -n {LEAST_OPEN_FILES}",
    )


def _space(name: str, folder: Path, least: int, advice: str) -> Finding:
    free = shutil.disk_usage(folder).free
    enough = free >= least
    verdict = Verdict.OK if enough else Verdict.WARNING
    found = f"{free / 1e9:.1f} GB free"
    return Finding(group="system", name=name, found=found, verdict=verdict, advice="" if enough else advice)
