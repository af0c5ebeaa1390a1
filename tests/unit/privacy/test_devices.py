"""The vocabulary of devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radio_io.privacy.devices import MAKERS, MODELS, OTHER, manufacturer_of, model_of


@pytest.mark.parametrize(
    ("maker_text", "model_text", "maker", "model"),
    [
        ("SIEMENS", "Fluorospot Compact FD", "Siemens", "Fluorospot Compact"),
        ("Siemens Healthineers", "YSIO Max", "Siemens", "Ysio Max"),
        ("Philips Medical Systems", "DigitalDiagnost 4.1", "Philips", "DigitalDiagnost"),
        ("Agfa-Gevaert AG", "ADC_5146", "Agfa", "ADC 51xx"),
        ("Agfa", "DX-D 600", "Agfa", "DX-D"),
        ("FUJI PHOTO FILM CO. LTD.", "IRS", "Fujifilm", "IRS"),
        ("FUJIFILM Corporation", "FDR-AcSelerate", "Fujifilm", "FDR AcSelerate"),
        ('"GE Healthcare"', "Discovery XR656", "GE", "Discovery XR"),
        ("GE MEDICAL SYSTEMS", "Senographe Essential VERSION ADS", "GE", "Senographe Essential"),
        ("G.E. Medical Systems", "AMX 240", "GE", "AMX"),
        ("GE", "", "GE", None),
        ("Canon Inc.", "CXDI Control Software NE", "Canon", "CXDI"),
        ("Carestream Health", "DRX-Evolution", "Carestream", "DRX-Evolution"),
        ("KODAK", "CR500", "Kodak", "DirectView CR"),
        ("Konica Minolta", "AeroDR", "Konica Minolta", "AeroDR"),
        ("Samsung Electronics", "GC85A", "Samsung", "GC85"),
        ("SHIMADZU", "MobileDaRt Evolution", "Shimadzu", "MobileDaRt"),
        ("Praxis Dr. Canonicus", "Raum 3", "Canon", OTHER),
        ("George Geber", "Handgerät", OTHER, OTHER),
        ("Ultragene", None, OTHER, None),
        (None, "Ysio", None, OTHER),
        ("  ", " ", None, None),
    ],
)
def test_names_common_devices_and_hides_all_others(maker_text, model_text, maker, model):
    assert manufacturer_of(maker_text) == maker
    assert model_of(maker, model_text) == model


@given(maker=st.text(max_size=80), model=st.text(max_size=80))
def test_gives_words_of_its_tables_only(maker, model):
    known = manufacturer_of(maker)
    assert known is None or known in MAKERS | {OTHER}
    assert model_of(known, model) in MODELS | {OTHER, None}
