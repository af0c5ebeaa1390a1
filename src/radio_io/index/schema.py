"""The tables of the index and their columns: the one place where names, types and comments are written down.

Comes in: nothing. Goes out: `TABLES` (of `index.duckdb`) and `RECORD_COLUMNS` (of a shard's Parquet record), in the
order in which they are stored. Types are DuckDB's; Arrow's follow from them in `records`, since everything that only
counts rows must start without pyarrow. The order of columns is part of the format: new ones go to the end.
"""

import difflib
from dataclasses import dataclass
from typing import Final

INDEX_FORMAT_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table: its name, DuckDB type and what it holds."""

    name: str
    sql_type: str
    comment: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of the index."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in stored order."""
        return tuple(column.name for column in self.columns)


def unknown_column(name: str) -> str:
    """What a message says about a column that the table `images` does not have.

    Example:
        >>> unknown_column("regoin")
        "unknown column 'regoin'; did you mean region?"
    """
    close = difflib.get_close_matches(name.lower(), TABLES["images"].names, 1)
    hint = f"did you mean {close[0]}?" if close else f"columns are {', '.join(TABLES['images'].names)}"
    return f"unknown column {name!r}; {hint}"


def _columns(text: str) -> tuple[Column, ...]:
    """One column a line: name, type, comment."""
    rows = (line.split(None, 2) for line in text.strip().splitlines())
    return tuple(Column(name=name, sql_type=sql_type, comment=comment) for name, sql_type, comment in rows)


# Who the image is and where its bytes lie; then what the header says, how it was rendered and what was measured.
_IDENTITY = _columns("""
key                VARCHAR    Name of the image in its shard: keyed pseudonym of instance and pixels, 32 hex digits
instance_key       VARCHAR    Keyed pseudonym of SOPInstanceUID alone, 32 hex digits
patient_key        VARCHAR    Keyed pseudonym of the patient, 32 hex digits; a patient is in one split only
study_key          VARCHAR    Keyed pseudonym of the study, 32 hex digits
series_key         VARCHAR    Keyed pseudonym of the series, 32 hex digits
split              VARCHAR    train, val or test
region             VARCHAR    Body region by vocabulary, for example 'Knee'; 'Unknown' where the header does not tell
region_source      VARCHAR    Which attribute told the region
laterality         VARCHAR    L, R, B (both) or U (unpaired); empty where unknown
view_position      VARCHAR    View by vocabulary, for example AP, PA, LATERAL
rows               INTEGER    Height of the image in pixels
columns            INTEGER    Width of the image in pixels
bin_height         INTEGER    Height in pixels of the size bin that the image belongs to
bin_width          INTEGER    Width in pixels of the size bin that the image belongs to
bits_stored        INTEGER    Bits of a stored value that carry the image, corrected where the header is wrong
modality           VARCHAR    DICOM Modality: CR, DX, RG ...
inverted           BOOLEAN    True where rendering turned grey values over so that air is dark
lossy              BOOLEAN    True where the source had been compressed with loss
pixel_hash         VARCHAR    XXH3 (128 bits, 32 hex digits) of size and rendered pixels
""")
_LOCATION = _columns("""
shard_id           VARCHAR    Shard that holds the image, for example train/h1536w2304/000012
image_offset       BIGINT     First byte of the encoded image in the shard's tar
image_size         BIGINT     Bytes of the encoded image
image_crc32        UINTEGER   CRC-32 of the encoded image
metadata_offset    BIGINT     First byte of the JSON member in the shard's tar
metadata_size      BIGINT     Bytes of the JSON member
level_sizes        INTEGER[]  Bytes from the front that give the image at 1, 1/2, 1/4, 1/8 ... of its size
codec              VARCHAR    How the image is encoded: htj2k or fast
""")
_HEADER = _columns("""
sop_class_uid                     VARCHAR  DICOM SOPClassUID
transfer_syntax_uid               VARCHAR  How the source file was encoded: DICOM TransferSyntaxUID
number_of_frames                  INTEGER  Frames in the source file
samples_per_pixel                 INTEGER  DICOM SamplesPerPixel
bits_allocated                    INTEGER  DICOM BitsAllocated
high_bit                          INTEGER  DICOM HighBit
pixel_representation              INTEGER  DICOM PixelRepresentation: 0 unsigned, 1 signed
photometric_interpretation        VARCHAR  DICOM PhotometricInterpretation of the source
presentation_lut_shape            VARCHAR  DICOM PresentationLUTShape
burned_in_annotation              VARCHAR  yes, no, unknown or suspected
pixel_spacing_row_mm              DOUBLE   Distance between rows in the patient, mm
pixel_spacing_column_mm           DOUBLE   Distance between columns in the patient, mm
imager_spacing_row_mm             DOUBLE   Distance between rows on the detector, mm
imager_spacing_column_mm          DOUBLE   Distance between columns on the detector, mm
spacing_source                    VARCHAR  Which attribute gave the spacing
pixels_square                     BOOLEAN  True where a pixel is as high as wide
kvp                               DOUBLE   Peak voltage of the tube, kV
exposure_mas                      DOUBLE   Exposure, mAs
exposure_time_ms                  DOUBLE   Exposure time, ms
distance_source_to_detector_mm    DOUBLE   Distance from source to detector, mm
grid                              VARCHAR  Anti-scatter grid by vocabulary
manufacturer                      VARCHAR  Manufacturer by vocabulary, OTHER where rare
model                             VARCHAR  Model by vocabulary, OTHER where rare
device_key                        VARCHAR  Keyed pseudonym of the device, 32 hex digits
patient_sex                       VARCHAR  M, F or O
patient_age_years                 INTEGER  Age in whole years at the study; 90 stands for 90 and more
study_date_shifted                DATE     Date of the study, moved back by the patient's own secret number of weeks
study_year                        INTEGER  Year of the study, where the dataset keeps years instead of shifted dates
is_synthetic                      BOOLEAN  True for phantoms, which no patient stands behind
""")
_RENDERING = _columns("""
render_bits            INTEGER  Rendered pixels are below 2 to the power of this
render_offset          BIGINT   Stored value of the rendered value 0 (of the greatest one where inverted)
polarity_source        VARCHAR  What told which side of the grey scale is air
polarity_conflict      BOOLEAN  True where attributes contradict each other about polarity
rescale_slope          DOUBLE   Physical value = stored value * slope + intercept
rescale_intercept      DOUBLE   Physical value = stored value * slope + intercept
modality_lut           BOOLEAN  True where a Modality LUT was applied
padding_value          INTEGER  Stored value of padding pixels
window_center          DOUBLE   Centre of the first display window, in units of rendered pixels
window_width           DOUBLE   Width of the first display window, in units of rendered pixels
voi_function           VARCHAR  Function of the display window: LINEAR, LINEAR_EXACT or SIGMOID
voi_applied            VARCHAR  Which display curve the pixels went through; empty in the default recipe
""")
_STATISTICS = _columns("""
minimum                INTEGER  Least rendered value outside padding
maximum                INTEGER  Greatest rendered value outside padding
mean                   DOUBLE   Mean rendered value outside padding
percentile_0_5         INTEGER  0.5th percentile of rendered values outside padding
percentile_1           INTEGER  1st percentile
percentile_50          INTEGER  Median
percentile_99          INTEGER  99th percentile
percentile_99_5        INTEGER  99.5th percentile
content_fraction       DOUBLE   Share of the image that carries structure, 0 to 1
saturated_fraction     DOUBLE   Share of the image at the greatest value, 0 to 1
polarity_suspect       DOUBLE   How likely the image is still inverted, 0 to 1
sharpness              DOUBLE   Fine detail over coarse detail in the middle: low where blurred, high where noisy
frame_number           INTEGER  Which frame of the source file the image is, from 1
accession_key          VARCHAR  Keyed pseudonym of AccessionNumber, by which labels from reports are joined
text_score             DOUBLE   How certainly text was read in the pixels, 0 to 1; empty where no detector was run
masked_boxes           INTEGER[]  Row, column, height, width of each blanked box of text; empty where none was asked for
""")
# Facts about one image among all others: they are no part of a record and computed when the index is built.
_COMPUTED = _columns("""
uid_conflict           BOOLEAN  True where other images have the same SOPInstanceUID and different pixels
pixel_duplicate        BOOLEAN  True where an image with the same pixels and a smaller key exists
""")

RECORD_COLUMNS: Final = (*_IDENTITY, *_LOCATION, *_HEADER, *_RENDERING, *_STATISTICS)
COMPUTED_COLUMNS: Final = _COMPUTED
LOCATION_NAMES: Final = tuple(column.name for column in _LOCATION if column.name not in ("level_sizes", "codec"))

IMAGES: Final = Table(
    name="images",
    comment="One row an image that lies in a shard, ordered by shard_id and image_offset",
    columns=(*RECORD_COLUMNS, *COMPUTED_COLUMNS),
)
SHARDS: Final = Table(
    name="shards",
    comment="One row a shard, ordered by shard_id",
    columns=_columns("""
shard_id       VARCHAR  Name of the shard, for example train/h1536w2304/000012
path           VARCHAR  Path of the tar file, relative to the dataset folder
num_images     INTEGER  Images in the shard
size_bytes     BIGINT   Size of the tar file in bytes
sha256         VARCHAR  SHA-256 of the tar file, 64 hex digits
split          VARCHAR  train, val or test
bin_height     INTEGER  Height in pixels of the size bin of all images in the shard
bin_width      INTEGER  Width in pixels of the size bin of all images in the shard
record_sha256  VARCHAR  SHA-256 of the Parquet record beside the tar file, 64 hex digits
codec          VARCHAR  How the images are encoded: htj2k or fast
"""),
)
REJECTS: Final = Table(
    name="rejects",
    comment="How many files did not become images, by reason; their paths lie in the private folder only",
    columns=_columns("""
reason     VARCHAR  Stable code, for example BLANK_IMAGE
stage      VARCHAR  Where it was found: scan, plan, build, or merge of datasets
num_files  BIGINT   Number of files
"""),
)
LABELS: Final = Table(
    name="labels",
    comment="Labels of images for training tasks; join with images by key",
    columns=_columns("""
task   VARCHAR  Name of the task, for example fracture
key    VARCHAR  Key of the image
label  VARCHAR  Label as imported
"""),
)
TABLES: Final = {table.name: table for table in (IMAGES, SHARDS, REJECTS, LABELS)}
