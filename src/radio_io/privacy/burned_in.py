"""What a header says about text that is part of the pixels, such as a burned-in name.

Comes in: BurnedInAnnotation, ConversionType, ImageType and the SOP class. Goes out: `BurnedIn`. Refuses nothing: the
header stage rejects what is marked YES, and a detector has to look at what is SUSPECTED.
"""

from collections.abc import Iterable
from enum import StrEnum

# Source: DICOM PS3.3 C.8.6.1: digitized film, scanned document, scanned image, workstation, drawing.
SUSPECT_CONVERSIONS = frozenset({"DF", "SD", "SI", "WSD", "DRW"})
SUSPECT_IMAGE_TYPES = frozenset({"SCREEN SAVE", "SCREENSAVE", "SCREENSHOT"})
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


class BurnedIn(StrEnum):
    """How likely the pixels carry identifying text, as far as a header tells."""

    YES = "yes"
    """Marked so: left out unless asked for."""
    NO = "no"
    """Marked so by the device that made the image."""
    UNKNOWN = "unknown"
    """Not marked: absence says nothing."""
    SUSPECTED = "suspected"
    """Not marked, and a secondary capture, scanned film or saved screen, which often carry text."""


def burned_in(
    annotation: str | None, conversion_type: str | None, image_type: Iterable[str], sop_class: str
) -> BurnedIn:
    """The state of one image.

    Example:
        >>> burned_in("YES", None, (), "")
        <BurnedIn.YES: 'yes'>
        >>> burned_in(None, "DF", (), "")
        <BurnedIn.SUSPECTED: 'suspected'>
        >>> burned_in(None, None, ("ORIGINAL", "PRIMARY"), "")
        <BurnedIn.UNKNOWN: 'unknown'>
    """
    # Anything that begins like a yes counts as one; a no has to be exact.
    if annotation is not None and annotation.strip().upper().startswith(("Y", "J", "TRUE", "1")):
        return BurnedIn.YES
    if annotation is not None and annotation.strip().upper() == "NO":
        return BurnedIn.NO
    converted = conversion_type is not None and conversion_type.strip().upper() in SUSPECT_CONVERSIONS
    saved = any(value.strip().upper() in SUSPECT_IMAGE_TYPES for value in image_type)
    secondary = sop_class == SECONDARY_CAPTURE or sop_class.startswith(SECONDARY_CAPTURE + ".")
    return BurnedIn.SUSPECTED if converted or saved or secondary else BurnedIn.UNKNOWN
