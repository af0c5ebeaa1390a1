"""What headers say about text in the pixels."""

import pytest

from radio_io.privacy.burned_in import BurnedIn, burned_in

CR = "1.2.840.10008.5.1.4.1.1.1"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("annotation", "conversion", "image_type", "sop_class", "expected"),
    [
        ("YES", None, (), CR, BurnedIn.YES),
        ("yes ", None, (), CR, BurnedIn.YES),
        ("Y", None, (), CR, BurnedIn.YES),
        ("JA", None, (), CR, BurnedIn.YES),
        ("NO", None, (), CR, BurnedIn.NO),
        ("NO", "WSD", (), SECONDARY, BurnedIn.NO),
        (None, None, (), CR, BurnedIn.UNKNOWN),
        ("", None, (), CR, BurnedIn.UNKNOWN),
        ("NOT SURE", None, (), CR, BurnedIn.UNKNOWN),
        (None, "DI", (), CR, BurnedIn.UNKNOWN),
        (None, "DF", (), CR, BurnedIn.SUSPECTED),
        (None, "SD", (), CR, BurnedIn.SUSPECTED),
        (None, "WSD", (), CR, BurnedIn.SUSPECTED),
        (None, None, ("DERIVED", "SECONDARY", "SCREEN SAVE"), CR, BurnedIn.SUSPECTED),
        (None, None, (), SECONDARY, BurnedIn.SUSPECTED),
        (None, None, (), SECONDARY + ".2", BurnedIn.SUSPECTED),
        ("MAYBE", None, (), SECONDARY, BurnedIn.SUSPECTED),
        (None, None, (), SECONDARY + "7", BurnedIn.UNKNOWN),
        ("YES", "WSD", (), SECONDARY, BurnedIn.YES),
    ],
)
def test_judges_by_mark_then_by_origin(annotation, conversion, image_type, sop_class, expected):
    assert burned_in(annotation, conversion, image_type, sop_class) is expected
