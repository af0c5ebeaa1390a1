"""Real files: each becomes the right pixels, equal to what an independent reader gives, or a reject with its reason.

The independent readers are pydicom with pylibjpeg, and gdcm; decoding here is by imagecodecs. Where they may differ,
the tables say why. Files are looked for in `RADIO_CORPUS`, or in `../shared/corpus` beside the repository.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import get_decoder

from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.parse import read_file
from radio_io.dicom.quiet import quiet_pydicom
from radio_io.dicom.render import render, render_parameters, stored_values
from radio_io.errors import ImageRejectedError

CORPUS = Path(os.environ.get("RADIO_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
FILES = CORPUS / "files"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not FILES.is_dir(), reason="no corpus: set RADIO_CORPUS to the folder that holds files/"),
]


@dataclass(frozen=True)
class Image:
    """What a file must decode to. `off_by` is the largest difference to the independent reader, with its reason."""

    rows: int
    columns: int
    dtype: str
    bits: int
    source: str = "header"
    lossy: bool = False
    inverted: bool = False
    off_by: int = 0
    refused_elsewhere: bool = False


# off_by=1: two implementations of the inverse cosine transform may round differently (ITU-T T.81 A.3.3).
IMAGES = {
    "Efferent-Health__fo-dicom.Codecs/test16bits.dcm": Image(512, 512, "int16", 16),
    "ImagingDataCommons__highdicom/dx_image.dcm": Image(169, 211, "uint8", 8, inverted=True),
    "PyPI__pydicom-data/RG3_UNCR.dcm": Image(1760, 1760, "uint16", 10, inverted=True),
    "fo-dicom__fo-dicom/CR-ModalitySequenceLUT.dcm": Image(1576, 1976, "uint16", 10, inverted=True),
    "fo-dicom__fo-dicom/GH133.dcm": Image(3062, 2394, "uint16", 12),
    "fo-dicom__fo-dicom/HasFragmentSequence.dcm": Image(512, 512, "uint8", 8, lossy=True, off_by=1),
    "fo-dicom__fo-dicom/chrX2.dcm": Image(32, 32, "uint8", 8),
    "mlmed__torchxrayvision/1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm": Image(
        1024, 1024, "uint8", 8, lossy=True, off_by=1
    ),
    "pydicom__pydicom/693_J2KI.dcm": Image(512, 512, "int16", 14, lossy=True),
    "pydicom__pydicom/CT_small.dcm": Image(128, 128, "int16", 16),
    "pydicom__pydicom/J2K_pixelrep_mismatch.dcm": Image(512, 512, "int16", 13, source="corrected"),
    "pydicom__pydicom/JPEGLSNearLossless_16.dcm": Image(50, 10, "uint16", 16, lossy=True),
    "pydicom__pydicom/JPGExtended.dcm": Image(1024, 256, "uint16", 12, lossy=True, off_by=1),
    "pydicom__pydicom/MR_small_RLE.dcm": Image(64, 64, "int16", 16),
    "pydicom__pydicom/MR_small_bigendian.dcm": Image(64, 64, "int16", 16),
    "pydicom__pydicom/MR_small_implicit.dcm": Image(64, 64, "int16", 16),
    "pydicom__pydicom/MR_small_padded.dcm": Image(64, 64, "int16", 16),
    "pydicom__pydicom/chrFrenMulti.dcm": Image(32, 32, "uint8", 8),
    "pydicom__pydicom/no_meta.dcm": Image(128, 128, "int16", 16, refused_elsewhere=True),
    "pydicom__pydicom/dicomdirtests/77654033/CR1/6154": Image(16, 16, "uint16", 12, inverted=True),
    "pydicom__pydicom/dicomdirtests/77654033/CR2/6247": Image(16, 16, "uint16", 12, inverted=True),
    "pydicom__pydicom/dicomdirtests/77654033/CR3/6278": Image(16, 16, "uint16", 12, inverted=True),
    "pydicom__pydicom/dicomdirtests/77654033/CT2/17106": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/77654033/CT2/17136": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/77654033/CT2/17166": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/77654033/CT2/17196": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT2N/6293": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT2N/6924": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT5N/2062": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT5N/2392": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT5N/2693": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT5N/3023": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892001/CT5N/3353": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892003/MR1/15820": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892003/MR1/4919": Image(16, 16, "int16", 16),
    "pydicom__pydicom/dicomdirtests/98892003/MR1/5641": Image(16, 16, "int16", 16),
    "pydicom__pydicom/examples_overlay.dcm": Image(300, 484, "uint16", 12),
    "pydicom__pydicom-data/693_J2KR.dcm": Image(512, 512, "int16", 14, source="codestream"),
    "pydicom__pydicom-data/JLSL_16_15_1_1F.dcm": Image(128, 128, "int16", 15),
    "pydicom__pydicom-data/RG1_J2KI.dcm": Image(1955, 1841, "uint16", 15, lossy=True, inverted=True),
    "pydicom__pydicom-data/RG3_J2KI.dcm": Image(1760, 1760, "uint16", 10, lossy=True, inverted=True),
    "pydicom__pydicom-data/RG3_J2KR.dcm": Image(1760, 1760, "uint16", 10, inverted=True),
    "pydicom__pydicom-data/bad_sequence.dcm": Image(512, 512, "uint16", 12),
    "pydicom__pydicom-data/mlut_18.dcm": Image(512, 512, "int16", 12),
    "pydicom__pylibjpeg-data/966_fixed.dcm": Image(2128, 2000, "uint16", 12, inverted=True),
    "pydicom__pylibjpeg-data/JPEGLosslessP14SV1_1s_1f_u_16_16.dcm": Image(535, 800, "uint16", 16),
    "pydicom__pylibjpeg-data/JPEGLossless_1s_1f_u_16_12.dcm": Image(1024, 1024, "uint16", 12),
    "pydicom__pylibjpeg-data/NM_Kakadu44_SOTmarkerincons.dcm": Image(2500, 2048, "uint16", 12),
    "pydicom__pylibjpeg-data/TOSHIBA_J2K_OpenJPEGv2Regression.dcm": Image(512, 512, "int16", 16, source="corrected"),
    "robyoung__dicom-test-files/RG3_JLSL": Image(1760, 1760, "uint16", 10, inverted=True),
    "robyoung__dicom-test-files/RG3_JLSN": Image(1760, 1760, "uint16", 10, lossy=True, inverted=True),
    "robyoung__dicom-test-files/RG3_JPLL": Image(1760, 1760, "uint16", 10, inverted=True),
    # pylibjpeg refuses its scan header, which ends at coefficient 0.
    "robyoung__dicom-test-files/RG3_JPLY": Image(
        1760, 1760, "uint16", 10, lossy=True, inverted=True, refused_elsewhere=True
    ),
    "robyoung__dicom-test-files/RG3_RLE": Image(1760, 1760, "uint16", 10, inverted=True),
    "robyoung__dicom-test-files/XA1_J2KR": Image(1024, 1024, "uint16", 10),
    "robyoung__dicom-test-files/XA1_JPLL": Image(1024, 1024, "uint16", 10),
}

REJECTED = {
    "fo-dicom__fo-dicom/GH195.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/ExplVR_BigEnd.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/MR_truncated.dcm": "TRUNCATED",
    "pydicom__pydicom/SC_rgb_small_odd.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/SC_ybr_full_422_uncompressed.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/examples_palette.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/liver_1frame.dcm": "UNSUPPORTED_PIXELS",  # 1 bit a pixel
    "pydicom__pydicom/rtdose.dcm": "UNSUPPORTED_PIXELS",  # 32 bits a pixel, and all of them used
    "pydicom__pydicom-data/OT-PAL-8-face.dcm": "NOT_GRAYSCALE",
    # Of the following the header stage says more: they hold no pixels, or none that are described.
    "dcmjs-org__dcmjs/no-meta-length-test.dcm": None,
    "dcmjs-org__dcmjs/sample-sr.dcm": None,
    "fo-dicom__fo-dicom/GH220.dcm": None,
    "fo-dicom__fo-dicom/chrJapMulti.dcm": None,
    "nroduit__weasis-dicom-tools/prLUTs.dcm": None,
    "pydicom__pydicom/ExplVR_LitEndNoMeta.dcm": None,
    "pydicom__pydicom/UN_sequence.dcm": None,
    "pydicom__pydicom/dicomdirtests/DICOMDIR": None,
    "pydicom__pydicom/dicomdirtests/DICOMDIR-bigEnd": None,
    "pydicom__pydicom/empty_charset_LEI.dcm": None,
    "pydicom__pydicom/meta_missing_tsyntax.dcm": None,
    "pydicom__pydicom/nested_priv_SQ.dcm": None,
    "pydicom__pydicom/no_meta_group_length.dcm": None,
    "pydicom__pydicom/reportsi.dcm": None,
    "pydicom__pydicom/rtplan.dcm": None,
    "pydicom__pydicom/waveform_ecg.dcm": None,
    "pydicom__pydicom-data/parametric_map_float.dcm": None,
}


def decode(name):
    return decode_pixels(read_file(FILES / name))


# What gdcm cannot do, and what comes out: its reason.
NOT_BY_GDCM = {
    "pydicom__pydicom/JPGExtended.dcm": "12-bit JPEG Extended",
    "robyoung__dicom-test-files/RG3_JPLY": "12-bit JPEG Extended",
    "pydicom__pydicom/MR_small_RLE.dcm": "pydicom has no RLE by gdcm",
    "robyoung__dicom-test-files/RG3_RLE": "pydicom has no RLE by gdcm",
    "pydicom__pydicom/no_meta.dcm": "begins with a foreign byte",
}


def independent(name, plugin="pylibjpeg"):
    """The first frame as pydicom with a plugin has it, unused bits corrected."""
    with quiet_pydicom():
        dataset = pydicom.dcmread(FILES / name)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        if not decoder.is_encapsulated:
            pixels = dataset.pixel_array
        else:
            pixels, _ = decoder.as_array(dataset, decoding_plugin=plugin, correct_unused_bits=True)
    return pixels[0] if pixels.ndim == 3 else pixels


def test_names_every_file():
    found = {path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()}
    assert found == IMAGES.keys() | REJECTED.keys()


@pytest.mark.parametrize("name", IMAGES)
def test_decodes(name):
    expected, stored = IMAGES[name], decode(name)
    assert (*stored.pixels.shape, stored.pixels.dtype) == (expected.rows, expected.columns, expected.dtype)
    assert (stored.bits_stored, stored.bits_source, stored.lossy) == (expected.bits, expected.source, expected.lossy)
    assert stored.decoder in ("numpy", "imagecodecs")


@pytest.mark.parametrize("name", [name for name, image in IMAGES.items() if not image.refused_elsewhere])
def test_agrees_with_an_independent_reader(name):
    ours, theirs = decode(name).pixels, independent(name)
    assert np.abs(ours.astype(np.int64) - theirs).max() <= IMAGES[name].off_by


@pytest.mark.parametrize("name", [name for name in IMAGES if name not in NOT_BY_GDCM])
def test_agrees_with_gdcm(name):
    ours, theirs = decode(name).pixels, independent(name, "gdcm")
    assert np.abs(ours.astype(np.int64) - theirs).max() <= IMAGES[name].off_by


def test_reads_what_begins_behind_a_foreign_byte():
    np.testing.assert_array_equal(
        decode("pydicom__pydicom/no_meta.dcm").pixels, decode("pydicom__pydicom/CT_small.dcm").pixels
    )


@pytest.mark.parametrize("name", IMAGES)
def test_renders_and_gives_stored_values_back(name):
    parsed = read_file(FILES / name)
    stored = decode_pixels(parsed)
    image = render(stored, render_parameters(parsed.dataset, stored))
    assert image.inverted == IMAGES[name].inverted
    assert not image.polarity_conflict
    if not image.modality_lut:
        np.testing.assert_array_equal(stored_values(image), stored.pixels)
    shown = render(stored, render_parameters(parsed.dataset, stored), "voi").pixels
    assert shown.min() < shown.max()


@pytest.mark.parametrize(("name", "reason"), REJECTED.items())
def test_rejects(name, reason):
    def whole_way():
        parsed = read_file(FILES / name)
        stored = decode_pixels(parsed)
        render(stored, render_parameters(parsed.dataset, stored))

    with pytest.raises(ImageRejectedError) as caught:
        whole_way()
    assert reason in (None, caught.value.reason)


LEG = "robyoung__dicom-test-files/RG3_"


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        (f"{LEG}JLSL", 0),
        (f"{LEG}JPLL", 0),
        (f"{LEG}RLE", 0),
        ("pydicom__pydicom-data/RG3_J2KR.dcm", 0),
        (f"{LEG}JLSN", 4),
        ("pydicom__pydicom-data/RG3_J2KI.dcm", 9),
        (f"{LEG}JPLY", 48),  # compressed 66 times
    ],
)
def test_gives_one_leg_in_all_encodings(name, largest):
    reference, pixels = decode("PyPI__pydicom-data/RG3_UNCR.dcm").pixels, decode(name).pixels
    assert np.abs(pixels.astype(int) - reference).max() <= largest
    assert pixels.max() < 1 << 10


def test_gives_one_angiogram_in_both_encodings():
    first, second = (decode(f"robyoung__dicom-test-files/XA1_{kind}") for kind in ("J2KR", "JPLL"))
    np.testing.assert_array_equal(first.pixels, second.pixels)


def test_applies_the_modality_lut_and_not_the_slope():
    parsed = read_file(FILES / "fo-dicom__fo-dicom/CR-ModalitySequenceLUT.dcm")
    stored = decode_pixels(parsed)
    image = render(stored, render_parameters(parsed.dataset, stored))
    item = parsed.dataset.ModalityLUTSequence[0]
    count, first, _ = item.LUTDescriptor
    entries = np.asarray(item.LUTData) if isinstance(item.LUTData, list) else np.frombuffer(item.LUTData, "<u2")
    expected = entries[np.clip(stored.pixels.astype(int) - first, 0, count - 1)]
    np.testing.assert_array_equal(image.pixels, (1 << image.bits) - 1 - expected)


def test_never_burns_overlays_in():
    name = "pydicom__pydicom/examples_overlay.dcm"
    np.testing.assert_array_equal(decode(name).pixels, independent(name))
    assert (0x6000, 0x3000) in read_file(FILES / name).dataset
