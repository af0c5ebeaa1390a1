"""Whether a header describes one grey-scale image that this dataset takes.

Comes in: a parsed file and the few values that decide. Goes out: nothing. Refuses, in this order: what is no image,
another modality, no pixel data, colour, several frames, impossible geometry, burned-in annotation.
"""

from dataclasses import dataclass

from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.privacy.burned_in import BurnedIn

GRAYSCALE = frozenset({"MONOCHROME1", "MONOCHROME2"})
# Rows and Columns are unsigned shorts; what decoding can afford is its own decision.
LARGEST_SIDE = 65_535
# Source: DICOM PS3.3 C.7.6.3.1.2.
_COLOUR_TERMS = "RGB ARGB CMYK HSV YBR_FULL YBR_FULL_422 YBR_PARTIAL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT XYB"
_COLOUR = frozenset(_COLOUR_TERMS.split()) | {"PALETTE COLOR"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What decides; texts are in the vocabulary or None, numbers None where absent or no number."""

    kind_without_image: str | None
    modality: str | None
    has_pixel_data: bool
    has_float_pixels: bool
    damage: str | None
    samples_per_pixel: int | None
    photometric_interpretation: str | None
    number_of_frames: int | None
    rows: int | None
    columns: int | None
    burned_in: BurnedIn


def refuse_kind(claims: Claims, modalities: frozenset[str] | None) -> None:
    """Refuse what is not an image of the wanted modalities with pixel data.

    Raises:
        ImageRejectedError: NOT_AN_IMAGE, WRONG_MODALITY, UNSUPPORTED_PIXELS, BAD_HEADER or NO_PIXEL_DATA.
    """
    if claims.kind_without_image is not None:
        raise ImageRejectedError(RejectReason.NOT_AN_IMAGE, claims.kind_without_image)
    if modalities is not None and claims.modality not in modalities:
        wanted = ", ".join(sorted(modalities))
        raise ImageRejectedError(
            RejectReason.WRONG_MODALITY, f"Modality {claims.modality or 'absent'}, expected {wanted}"
        )
    if claims.has_float_pixels:
        raise ImageRejectedError(RejectReason.UNSUPPORTED_PIXELS, "pixels in floating point, expected integers")
    if not claims.has_pixel_data:
        if claims.damage is not None:
            raise ImageRejectedError(RejectReason.BAD_HEADER, claims.damage)
        raise ImageRejectedError(RejectReason.NO_PIXEL_DATA, "no PixelData element, or an empty one")


def refuse_pixels(claims: Claims, *, frames: str, allow_burned_in: bool) -> None:
    """Refuse pixels that make no single grey-scale image.

    Raises:
        ImageRejectedError: NOT_GRAYSCALE, MULTI_FRAME, BAD_GEOMETRY or BURNED_IN_ANNOTATION.
    """
    photometric = claims.photometric_interpretation
    if claims.samples_per_pixel not in {1, None}:
        raise ImageRejectedError(RejectReason.NOT_GRAYSCALE, f"SamplesPerPixel {claims.samples_per_pixel}, expected 1")
    if photometric not in GRAYSCALE:
        # An unknown text may be anything, so only the standard's terms are repeated.
        found = photometric if photometric in _COLOUR else "absent" if photometric is None else "unknown"
        detail = f"PhotometricInterpretation {found}, expected MONOCHROME1 or MONOCHROME2"
        raise ImageRejectedError(RejectReason.NOT_GRAYSCALE, detail)
    if (claims.number_of_frames or 1) > 1 and frames == "reject":
        raise ImageRejectedError(RejectReason.MULTI_FRAME, f"NumberOfFrames {claims.number_of_frames}, expected 1")
    if not _is_side(claims.rows) or not _is_side(claims.columns):
        detail = f"Rows {claims.rows}, Columns {claims.columns}; both have to be 1 to {LARGEST_SIDE}"
        raise ImageRejectedError(RejectReason.BAD_GEOMETRY, detail)
    if claims.burned_in is BurnedIn.YES and not allow_burned_in:
        raise ImageRejectedError(RejectReason.BURNED_IN_ANNOTATION, "BurnedInAnnotation YES")


def _is_side(value: int | None) -> bool:
    return value is not None and 0 < value <= LARGEST_SIDE
