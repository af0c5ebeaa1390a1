"""One file becomes one sample: read, decode, render, check, encode.

Comes in: a path and a `SampleContext`. Goes out: `Sample`, the encoded image with the row that describes it. Refuses
(`ImageRejectedError`) what any stage on the way refuses.
"""

import json
from dataclasses import dataclass, field, fields

import numpy as np
import xxhash
from numpy.typing import NDArray

from radio_io.codecs.registry import get_codec
from radio_io.config import BuildConfig, SplitShares, TextMode
from radio_io.dicom.check import ImageStatistics, check
from radio_io.dicom.decode import StoredPixels, decode_pixels
from radio_io.dicom.header import HeaderContext, HeaderRecord, ParsedFile, header_record
from radio_io.dicom.regions import RegionRules
from radio_io.dicom.render import Radiograph, render, render_parameters
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.index.records import image_row
from radio_io.index.row import ImageRow
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.privacy.text_detector import require_text_extra
from radio_io.privacy.tombstones import Tombstones, read_tombstones
from radio_io.sharding.bins import Bins
from radio_io.sharding.text_step import LookedAt, look_for_text


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleContext:
    """What making a sample needs beside the file; pickles to worker processes."""

    header: HeaderContext
    bins: Bins
    splits: SplitShares
    codec: str
    render: str
    text: TextMode = TextMode.OFF
    withdrawn: Tombstones = field(default_factory=Tombstones)
    file_timeout_s: float = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """An encoded image and everything about it but its place in a shard."""

    row: ImageRow
    encoded: bytes

    @property
    def key(self) -> str:
        """The name of the sample's members, 32 hex digits."""
        return self.row.key

    def metadata(self) -> bytes:
        """The JSON member: the row with sorted keys."""
        return encode_metadata(self.row)


def header_context(config: BuildConfig, pseudonyms: Pseudonymizer) -> HeaderContext:
    """The context of the header stage for a configuration.

    Raises:
        ConfigError: The file of region rules cannot be used.
    """
    return HeaderContext(
        pseudonyms=pseudonyms,
        region_rules=RegionRules.load(config.regions_file),
        date_policy=config.dates.value,
        modalities=config.modalities,
        allow_burned_in=config.allow_burned_in,
        frames=config.frames.value,
        archives=DatasetLayout(config.dataset).archives_dir,
    )


def sample_context(config: BuildConfig, pseudonyms: Pseudonymizer) -> SampleContext:
    """The context of samples for a configuration.

    Raises:
        ConfigError: Text is to be looked for, and the extra `text` is not installed.
        DatasetError: The list of withdrawn patients is damaged.
    """
    if config.text is not TextMode.OFF:
        require_text_extra()
    return SampleContext(
        header=header_context(config, pseudonyms),
        bins=config.bins,
        splits=config.splits,
        codec=config.codec,
        render=config.render.value,
        text=config.text,
        file_timeout_s=config.file_timeout_s,
        withdrawn=read_tombstones(DatasetLayout(config.dataset)),
    )


def make_sample(parsed: ParsedFile, context: SampleContext, *, frame: int = 0) -> Sample:
    """The sample of a file, or of one of its frames (from 0).

    Raises:
        ImageRejectedError: The file cannot become an image, or is larger than the largest bin.
    """
    header = header_record(parsed, context.header)
    if context.withdrawn.covers(header):
        raise ImageRejectedError(RejectReason.WITHDRAWN, "withdrawn on request")
    stored = decode_pixels(parsed, frame=frame)
    radiograph = render(
        stored, render_parameters(parsed.dataset, stored), "voi" if context.render == "voi" else "modality"
    )
    looked_at = look_for_text(
        radiograph, context.text, header.burned_in_annotation, allow_burned_in=context.header.allow_burned_in
    )
    radiograph = looked_at.radiograph
    statistics = check(radiograph)
    encoded = get_codec(context.codec).encode(radiograph.pixels)
    row = _row(header, stored, looked_at, statistics, encoded, context, frame + 1)
    return Sample(row=row, encoded=encoded)


def pixel_hash(pixels: NDArray[np.uint16]) -> str:
    """XXH3 of 128 bits, 32 hex digits, of size and rendered pixels; see docs/decisions/0017-pixel-hash.md."""
    digest = xxhash.xxh3_128(b"radio-pixels-v1")
    digest.update(np.array(pixels.shape, "<u4").tobytes())
    digest.update(np.ascontiguousarray(pixels, "<u2").data)
    return digest.hexdigest()


def encode_metadata(row: ImageRow) -> bytes:
    """The JSON member of a row: sorted keys, no spaces, dates as ISO 8601."""
    values = {name: getattr(row, name) for name in ROW_FIELDS}
    if row.study_date_shifted is not None:
        values["study_date_shifted"] = row.study_date_shifted.isoformat()
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decode_metadata(text: bytes) -> ImageRow:
    """The row of a JSON member.

    Raises:
        ValueError, TypeError: The text is no JSON, or has other fields.
    """
    return image_row(json.loads(text))


def _row(
    header: HeaderRecord,
    stored: StoredPixels,
    looked_at: LookedAt,
    statistics: ImageStatistics,
    encoded: bytes,
    context: SampleContext,
    frame_number: int,
) -> ImageRow:
    radiograph = looked_at.radiograph
    rows, columns = radiograph.pixels.shape
    place = context.bins.assign(rows, columns)
    if place is None:
        raise too_large(rows, columns, context.bins)
    pixels = pixel_hash(radiograph.pixels)
    pseudonyms = context.header.pseudonyms
    values = {field.name: getattr(header, field.name) for field in fields(HeaderRecord)}
    values |= {field.name: getattr(statistics, field.name) for field in fields(ImageStatistics)}
    rendered = {field.name: getattr(radiograph, field.name) for field in fields(Radiograph)}
    values |= {name: value for name, value in rendered.items() if name in ROW_FIELDS}
    values |= {
        "key": pseudonyms.image_key(header.instance_key, pixels),
        "split": context.splits.split_of(pseudonyms.split_fraction(header.patient_key)).value,
        "rows": rows,
        "columns": columns,
        "bin_height": place.height,
        "bin_width": place.width,
        "bits_stored": stored.bits_stored,
        "lossy": header.lossy or stored.lossy,
        "pixel_hash": pixels,
        "level_sizes": get_codec(context.codec).level_sizes(encoded),
        "codec": context.codec,
        "frame_number": frame_number,
        "text_score": looked_at.score,
        "masked_boxes": looked_at.boxes,
        "render_bits": radiograph.bits,
        "render_offset": radiograph.offset,
    }
    return ImageRow(**values)


def too_large(rows: int, columns: int, bins: Bins) -> ImageRejectedError:
    """The rejection of an image that no bin holds."""
    height = max(each.height for each in bins.rectangles)
    width = max(each.width for each in bins.rectangles)
    return ImageRejectedError(
        RejectReason.TOO_LARGE, f"{rows} x {columns} pixels, the largest bin holds {height} x {width}"
    )


ROW_FIELDS = frozenset(field.name for field in fields(ImageRow))
