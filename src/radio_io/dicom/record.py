"""What the header stage takes and gives: its context and its record.

Comes in: nothing. Goes out: `HeaderContext`, `HeaderRecord`, and the protocol of region mappers.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, Protocol

from pydicom.dataset import Dataset

from radio_io.dicom.kinds import DEFAULT_MODALITIES
from radio_io.privacy.pseudonyms import Pseudonymizer


class RegionFound(Protocol):
    """What a region mapper answers, in words of its table."""

    @property
    def region(self) -> str:
        """The region, or "Unknown"."""
        ...

    @property
    def region_source(self) -> str:
        """The attribute that told."""
        ...

    @property
    def laterality(self) -> str | None:
        """L, R, B or U."""
        ...

    @property
    def view_position(self) -> str | None:
        """The view."""
        ...


class RegionMapper(Protocol):
    """Names the region, side and view of a header; `regions.RegionRules` is the one in use."""

    def map_region(self, dataset: Dataset) -> RegionFound:
        """What the header says; the dataset holds the allow-listed descriptions and codes as plain text."""
        ...

    def unmapped_text(self, dataset: Dataset) -> str | None:
        """What the header calls a region that has no name here: free text, not to be shown as it is."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderContext:
    """What the header stage needs beside the file; pickles to worker processes.

    `modalities` None takes all. `frames` says what becomes of a file with several: "first" and "all" let it pass.
    `archives` is the folder with the tables of archives.
    """

    pseudonyms: Pseudonymizer
    region_rules: RegionMapper
    date_policy: Literal["shift", "year", "drop"] = "shift"
    modalities: frozenset[str] | None = DEFAULT_MODALITIES
    allow_burned_in: bool = False
    frames: Literal["reject", "first", "all"] = "reject"
    archives: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderRecord:
    """One image as its header describes it; the order of fields is that of the columns. None: absent or unusable.

    Keys are 32 hex digits. Spacings are distances between pixel centres in mm, along a column (row spacing) and along
    a row. `lossy`, `bits_stored` and the like are the header's claims; decoding corrects them.
    """

    instance_key: str
    patient_key: str
    study_key: str
    series_key: str
    modality: str | None
    sop_class_uid: str | None
    transfer_syntax_uid: str
    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None
    pixel_representation: int | None
    photometric_interpretation: str
    presentation_lut_shape: str | None
    lossy: bool
    burned_in_annotation: str
    region: str
    region_source: str
    laterality: str | None
    view_position: str | None
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
    study_date_shifted: date | None
    study_year: int | None
    is_synthetic: bool
    accession_key: str | None
