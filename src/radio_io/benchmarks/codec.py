"""How fast this machine decodes DICOM and the codecs of shards, on the user's own files or on phantoms.

Comes in: paths of DICOM files, or nothing. Goes out: `DecodingSpeed`s beside pydicom with pylibjpeg, `CodecSpeed`s
beside 16-bit PNG, and the codec that a storage of some bandwidth and some cores call for. Refuses files of which none
is a radiograph.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from radio_io.benchmarks.timing import cpu_seconds
from radio_io.codecs.registry import CODEC_NAMES, get_codec
from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.parse import read_file
from radio_io.dicom.quiet import quiet_pydicom
from radio_io.dicom.render import render, render_parameters
from radio_io.dicom.walk import FoundFile, walk_sources
from radio_io.errors import DatasetError, ImageRejectedError
from radio_io.sources.whole import open_whole
from radio_io.synth.export import file_bytes
from radio_io.synth.pixels import SYNTAX_UIDS
from radio_io.synth.plan import plan_export

FILES_A_SYNTAX = 5
PHANTOM_ROWS, PHANTOM_COLUMNS = 2000, 1500
PNG = "png16 (Pillow's default is level 6)"
MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingSpeed:
    """CPU milliseconds from a file's bytes to stored pixels, here and by pydicom with pylibjpeg (None: it refuses)."""

    transfer_syntax: str
    files: int
    megapixels: float
    ours_ms: float
    pydicom_ms: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as fast as pydicom."""
        return self.pydicom_ms / self.ours_ms if self.pydicom_ms is not None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecSpeed:
    """A codec on one core, MB of raw 16-bit pixels a second; `ratio` is raw over encoded bytes."""

    codec: str
    ratio: float
    encode_mb_s: float
    decode_mb_s: float

    def images_per_s(self, *, storage_mb_s: float, cores: int, image_mb: float) -> float:
        """What storage and cores allow in an epoch that reads everything: the lesser of the two."""
        return min(storage_mb_s * self.ratio, self.decode_mb_s * cores) / image_mb


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecReport:
    """Everything measured; `image_mb` is the mean size of an image, raw."""

    decoding: tuple[DecodingSpeed, ...]
    codecs: tuple[CodecSpeed, ...]
    image_mb: float


def measure_codecs(sources: Sequence[str], *, rounds: int = 5) -> CodecReport:
    """Measure decoding by transfer syntax and the codecs of shards.

    Raises:
        DatasetError: No file is a radiograph that can be decoded.
    """
    groups = _files_by_syntax(sources) if sources else _phantoms()
    if not groups:
        raise DatasetError("none of the first files is a radiograph that can be decoded; name other files")
    decoding = tuple(_decoding_speed(syntax, files, rounds) for syntax, files in sorted(groups.items()))
    images = [_radiograph(files[0]) for _, files in sorted(groups.items())]
    image_mb = sum(image.nbytes for image in images) / len(images) / MEGABYTE
    return CodecReport(decoding=decoding, codecs=tuple(_codec_speeds(images, rounds)), image_mb=image_mb)


def recommend(report: CodecReport, *, storage_mb_s: float, cores: int) -> CodecSpeed:
    """The codec that delivers most images; at a tie within 2 % the one that takes less room."""
    ours = [speed for speed in report.codecs if speed.codec in CODEC_NAMES]

    def delivered(speed: CodecSpeed) -> float:
        return speed.images_per_s(storage_mb_s=storage_mb_s, cores=cores, image_mb=report.image_mb)

    best = max(map(delivered, ours))
    return max((speed for speed in ours if delivered(speed) >= 0.98 * best), key=lambda speed: speed.ratio)


def _phantoms() -> dict[str, list[bytes]]:
    """A phantom of 12 bits in each transfer syntax."""
    plan = next(plan for plan in plan_export(images=20, seed=1, scale=1.0) if plan.fault is None)
    plan = replace(plan, rows=PHANTOM_ROWS, columns=PHANTOM_COLUMNS, bits=12, small=False)
    return {str(uid): [file_bytes(replace(plan, syntax=name))] for name, uid in SYNTAX_UIDS.items()}


def _files_by_syntax(sources: Sequence[str]) -> dict[str, list[bytes]]:
    """The first few decodable files of each transfer syntax, whole in memory; looks at 2,000 files at most."""
    groups: dict[str, list[bytes]] = {}
    for data in _contents(sources, 2000):
        try:
            parsed = read_file(data)
            group = groups.setdefault(parsed.transfer_syntax_uid, [])
            if len(group) < FILES_A_SYNTAX:
                decode_pixels(parsed)
                group.append(data)
        except ImageRejectedError:
            continue
    return {syntax: files for syntax, files in groups.items() if files}


def _contents(sources: Sequence[str], most: int) -> Iterator[bytes]:
    for number, found in enumerate(walk_sources(sources)):
        if number >= most:
            return
        if isinstance(found, FoundFile):
            try:
                with open_whole(found.path) as content:
                    yield content.read_all()
            except ImageRejectedError:
                continue


def _decoding_speed(syntax: str, files: list[bytes], rounds: int) -> DecodingSpeed:
    functions: dict[str, Callable[[], object]] = {"ours": lambda: [decode_pixels(read_file(data)) for data in files]}
    if all(_pydicom_can(data) for data in files):
        functions["pydicom"] = lambda: [_by_pydicom(data) for data in files]
    seconds = cpu_seconds(functions, rounds=rounds)
    pixels = sum(decode_pixels(read_file(data)).pixels.size for data in files)
    theirs = seconds.get("pydicom")
    return DecodingSpeed(
        transfer_syntax=UID(syntax).name,
        files=len(files),
        megapixels=pixels / len(files) / MEGABYTE,
        ours_ms=seconds["ours"] / len(files) * 1e3,
        pydicom_ms=theirs / len(files) * 1e3 if theirs is not None else None,
    )


def _by_pydicom(data: bytes) -> NDArray[np.generic]:
    """What a user of pydicom gets: `pixel_array`, decoded by pylibjpeg where it is compressed."""
    with quiet_pydicom():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if get_decoder(dataset.file_meta.TransferSyntaxUID).is_encapsulated:
            dataset.pixel_array_options(decoding_plugin="pylibjpeg")
        return dataset.pixel_array


def _pydicom_can(data: bytes) -> bool:
    try:
        _by_pydicom(data)
    except Exception:  # noqa: BLE001 - whatever a third-party decoder raises, it cannot
        return False
    return True


def _radiograph(data: bytes) -> NDArray[np.uint16]:
    parsed = read_file(data)
    stored = decode_pixels(parsed)
    return render(stored, render_parameters(parsed.dataset, stored)).pixels


def _codec_speeds(images: list[NDArray[np.uint16]], rounds: int) -> Iterator[CodecSpeed]:
    raw = sum(image.nbytes for image in images)
    for name in CODEC_NAMES:
        codec = get_codec(name)
        encoded = [codec.encode(image) for image in images]
        functions: dict[str, Callable[[], object]] = {
            "encode": partial(_each, codec.encode, images),
            "decode": partial(_each, codec.decode, encoded),
        }
        yield _speed(name, raw, sum(map(len, encoded)), cpu_seconds(functions, rounds=rounds))
    packed = [imagecodecs.png_encode(image, 6) for image in images]
    functions = {
        "encode": lambda: imagecodecs.png_encode(images[0], 6),
        "decode": lambda: [imagecodecs.png_decode(data) for data in packed],
    }
    seconds = cpu_seconds(functions, rounds=1)
    seconds["encode"] *= raw / images[0].nbytes
    yield _speed(PNG, raw, sum(map(len, packed)), seconds)


def _each(function: Callable[[Any], object], values: list[Any]) -> None:
    for value in values:
        function(value)


def _speed(name: str, raw: int, encoded: int, seconds: dict[str, float]) -> CodecSpeed:
    return CodecSpeed(
        codec=name,
        ratio=raw / encoded,
        encode_mb_s=raw / MEGABYTE / seconds["encode"],
        decode_mb_s=raw / MEGABYTE / seconds["decode"],
    )
