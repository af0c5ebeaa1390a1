"""One image as the index knows it.

Comes in: what the stages from header to encoder found out. Goes out: `ImageRow` (everything about an image, the public
content of its JSON member) and `ImageLocation` (where its bytes lie in a shard); together they are a row of a
shard's record. Names and order are those of `schema.RECORD_COLUMNS`, which a test compares.
"""

import datetime
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    """Everything about an image but its place in a shard; `schema` says what each field holds."""

    key: str
    instance_key: str
    patient_key: str
    study_key: str
    series_key: str
    split: str
    region: str
    region_source: str
    laterality: str | None
    view_position: str | None
    rows: int
    columns: int
    bin_height: int
    bin_width: int
    bits_stored: int
    modality: str | None
    inverted: bool
    lossy: bool
    pixel_hash: str
    level_sizes: tuple[int, ...]
    codec: str
    # Fields of HeaderRecord
    sop_class_uid: str | None
    transfer_syntax_uid: str
    number_of_frames: int
    samples_per_pixel: int
    bits_allocated: int | None
    high_bit: int | None
    pixel_representation: int | None
    photometric_interpretation: str
    presentation_lut_shape: str | None
    burned_in_annotation: str
    pixel_spacing_row_mm: float | None
    pixel_spacing_column_mm: float | None
    imager_spacing_row_mm: float | None
    imager_spacing_column_mm: float | None
    spacing_source: str | None
    pixels_square: bool | None
    kvp: float | None
    exposure_mas: float | None
    exposure_time_ms: float | None
    distance_source_to_detector_mm: float | None
    grid: str | None
    manufacturer: str | None
    model: str | None
    device_key: str | None
    patient_sex: str | None
    patient_age_years: int | None
    study_date_shifted: datetime.date | None
    study_year: int | None
    is_synthetic: bool
    # Fields of Radiograph; `render_bits` and `render_offset` are its `bits` and `offset`
    render_bits: int
    render_offset: int
    polarity_source: str
    polarity_conflict: bool
    rescale_slope: float
    rescale_intercept: float
    modality_lut: bool
    padding_value: int | None
    window_center: float | None
    window_width: float | None
    voi_function: str | None
    voi_applied: str | None
    # Fields of ImageStatistics
    minimum: int
    maximum: int
    mean: float
    percentile_0_5: int
    percentile_1: int
    percentile_50: int
    percentile_99: int
    percentile_99_5: int
    content_fraction: float
    saturated_fraction: float
    polarity_suspect: float
    sharpness: float
    frame_number: int
    accession_key: str | None
    text_score: float | None
    masked_boxes: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLocation:
    """Where the two members of an image lie in the tar file of a shard, in bytes."""

    shard_id: str
    image_offset: int
    image_size: int
    image_crc32: int
    metadata_offset: int
    metadata_size: int
