"""Every real file becomes a header record or a reject with the expected reason.

`EXPECTED` says what a file is when every modality is taken; with the default modalities, what is an image of another
one becomes WRONG_MODALITY. Files are looked for in `RADIO_CORPUS`, or in `../shared/corpus` beside the repository.
"""

import logging
import os
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from radio_io.dicom.header import HeaderContext, header_record, read_before_pixels, read_file, read_header
from radio_io.dicom.quiet import quiet_pydicom
from radio_io.dicom.regions import RegionRules
from radio_io.errors import ImageRejectedError
from radio_io.privacy.pseudonyms import Pseudonymizer

CORPUS = Path(os.environ.get("RADIO_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
FILES = CORPUS / "files"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not FILES.is_dir(), reason="no corpus: set RADIO_CORPUS to the folder that holds files/"),
]

DICOMDIRS = "pydicom__pydicom/dicomdirtests"
# File -> modality (an image), or the reason of its reject when every modality is taken; None: an image without any.
EXPECTED: dict[str, str | None] = {
    "Efferent-Health__fo-dicom.Codecs/test16bits.dcm": "CR",
    "ImagingDataCommons__highdicom/dx_image.dcm": "DX",
    "PyPI__pydicom-data/RG3_UNCR.dcm": "CR",
    "dcmjs-org__dcmjs/no-meta-length-test.dcm": "NO_PIXEL_DATA",
    "dcmjs-org__dcmjs/sample-sr.dcm": "NOT_AN_IMAGE",
    "fo-dicom__fo-dicom/CR-ModalitySequenceLUT.dcm": "CR",
    "fo-dicom__fo-dicom/GH133.dcm": "MG",
    "fo-dicom__fo-dicom/GH195.dcm": "NOT_GRAYSCALE",
    "fo-dicom__fo-dicom/GH220.dcm": "NO_PIXEL_DATA",
    "fo-dicom__fo-dicom/HasFragmentSequence.dcm": "MULTI_FRAME",
    "fo-dicom__fo-dicom/chrJapMulti.dcm": "NO_PIXEL_DATA",
    "fo-dicom__fo-dicom/chrX2.dcm": "OT",
    "mlmed__torchxrayvision/1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm": "CR",
    "nroduit__weasis-dicom-tools/prLUTs.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom-data/693_J2KR.dcm": "CT",
    "pydicom__pydicom-data/JLSL_16_15_1_1F.dcm": None,
    "pydicom__pydicom-data/OT-PAL-8-face.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom-data/RG1_J2KI.dcm": "CR",
    "pydicom__pydicom-data/RG3_J2KI.dcm": "CR",
    "pydicom__pydicom-data/RG3_J2KR.dcm": "CR",
    "pydicom__pydicom-data/bad_sequence.dcm": "CT",
    "pydicom__pydicom-data/mlut_18.dcm": "OT",
    "pydicom__pydicom-data/parametric_map_float.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom/693_J2KI.dcm": "CT",
    "pydicom__pydicom/CT_small.dcm": "CT",
    "pydicom__pydicom/ExplVR_BigEnd.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/ExplVR_LitEndNoMeta.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom/J2K_pixelrep_mismatch.dcm": "CT",
    "pydicom__pydicom/JPEGLSNearLossless_16.dcm": None,
    "pydicom__pydicom/JPGExtended.dcm": "NM",
    "pydicom__pydicom/MR_small_RLE.dcm": "MR",
    "pydicom__pydicom/MR_small_bigendian.dcm": "MR",
    "pydicom__pydicom/MR_small_implicit.dcm": "MR",
    "pydicom__pydicom/MR_small_padded.dcm": "MR",
    "pydicom__pydicom/MR_truncated.dcm": "MR",  # decoding finds out
    "pydicom__pydicom/SC_rgb_small_odd.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/SC_ybr_full_422_uncompressed.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/UN_sequence.dcm": "NO_PIXEL_DATA",
    "pydicom__pydicom/chrFrenMulti.dcm": "OT",
    f"{DICOMDIRS}/77654033/CR1/6154": "CR",
    f"{DICOMDIRS}/77654033/CR2/6247": "CR",
    f"{DICOMDIRS}/77654033/CR3/6278": "CR",
    f"{DICOMDIRS}/77654033/CT2/17106": "CT",
    f"{DICOMDIRS}/77654033/CT2/17136": "CT",
    f"{DICOMDIRS}/77654033/CT2/17166": "CT",
    f"{DICOMDIRS}/77654033/CT2/17196": "CT",
    f"{DICOMDIRS}/98892001/CT2N/6293": "CT",
    f"{DICOMDIRS}/98892001/CT2N/6924": "CT",
    f"{DICOMDIRS}/98892001/CT5N/2062": "CT",
    f"{DICOMDIRS}/98892001/CT5N/2392": "CT",
    f"{DICOMDIRS}/98892001/CT5N/2693": "CT",
    f"{DICOMDIRS}/98892001/CT5N/3023": "CT",
    f"{DICOMDIRS}/98892001/CT5N/3353": "CT",
    f"{DICOMDIRS}/98892003/MR1/15820": "MR",
    f"{DICOMDIRS}/98892003/MR1/4919": "MR",
    f"{DICOMDIRS}/98892003/MR1/5641": "MR",
    f"{DICOMDIRS}/DICOMDIR": "NOT_AN_IMAGE",
    f"{DICOMDIRS}/DICOMDIR-bigEnd": "NOT_AN_IMAGE",
    "pydicom__pydicom/empty_charset_LEI.dcm": "NO_PIXEL_DATA",
    "pydicom__pydicom/examples_overlay.dcm": "MR",
    "pydicom__pydicom/examples_palette.dcm": "NOT_GRAYSCALE",
    "pydicom__pydicom/liver_1frame.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom/meta_missing_tsyntax.dcm": "NOT_GRAYSCALE",  # no PhotometricInterpretation, nor Rows
    "pydicom__pydicom/nested_priv_SQ.dcm": "NOT_GRAYSCALE",  # the same
    "pydicom__pydicom/no_meta.dcm": "CT",  # one foreign byte, then the dataset
    "pydicom__pydicom/no_meta_group_length.dcm": "NO_PIXEL_DATA",
    "pydicom__pydicom/reportsi.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom/rtdose.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom/rtplan.dcm": "NOT_AN_IMAGE",
    "pydicom__pydicom/waveform_ecg.dcm": "NOT_AN_IMAGE",
    "pydicom__pylibjpeg-data/966_fixed.dcm": "DX",
    "pydicom__pylibjpeg-data/JPEGLosslessP14SV1_1s_1f_u_16_16.dcm": "OT",
    "pydicom__pylibjpeg-data/JPEGLossless_1s_1f_u_16_12.dcm": "MR",
    "pydicom__pylibjpeg-data/NM_Kakadu44_SOTmarkerincons.dcm": "CR",
    "pydicom__pylibjpeg-data/TOSHIBA_J2K_OpenJPEGv2Regression.dcm": "CT",
    "robyoung__dicom-test-files/RG3_JLSL": "CR",
    "robyoung__dicom-test-files/RG3_JLSN": "CR",
    "robyoung__dicom-test-files/RG3_JPLL": "CR",
    "robyoung__dicom-test-files/RG3_JPLY": "CR",
    "robyoung__dicom-test-files/RG3_RLE": "CR",
    "robyoung__dicom-test-files/XA1_J2KR": "XA",
    "robyoung__dicom-test-files/XA1_JPLL": "XA",
}
IN_EVERY_MODALITY = {"NOT_AN_IMAGE"}
DISPLACED = "pydicom__pydicom/no_meta.dcm"
LOSSY = {
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "693_J2KI.dcm",
    "RG1_J2KI.dcm",
    "RG3_J2KI.dcm",
    "RG3_JLSN",
    "RG3_JPLY",
    "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm",
}
NAMES = sorted(EXPECTED)
PSEUDONYMS, RULES = Pseudonymizer(bytes(32)), RegionRules.load()


def outcome(path, **settings):
    """Modality of the record, or the reason; the same for both ways of reading."""
    context = HeaderContext(pseudonyms=PSEUDONYMS, region_rules=RULES, **settings)
    results = []
    for read in (lambda: read_header(path, context), lambda: header_record(read_file(path), context)):
        try:
            results.append(read())
        except ImageRejectedError as error:
            results.append(error.reason.value)
    assert results[0] == results[1]
    return results[0] if isinstance(results[0], str) else results[0].modality


def test_names_every_file():
    assert {path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()} == set(EXPECTED)
    assert len(EXPECTED) == 82


@pytest.mark.parametrize("name", NAMES)
def test_gives_the_expected_outcome(name):
    assert outcome(FILES / name, modalities=None) == EXPECTED[name]


@pytest.mark.parametrize("name", NAMES)
def test_gives_the_expected_outcome_for_radiographs_alone(name):
    expected = EXPECTED[name]
    # A header without pixels that is a radiograph's by its modality.
    if expected not in {"CR", "DX", *IN_EVERY_MODALITY} and not name.endswith("chrJapMulti.dcm"):
        expected = "WRONG_MODALITY"
    assert outcome(FILES / name) == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name != DISPLACED])
def test_agrees_with_pydicom_on_every_element(name):
    data = (FILES / name).read_bytes()
    ours = read_file(data).dataset
    with quiet_pydicom():
        theirs = dcmread(BytesIO(data), force=True)
        # Whatever follows the pixels (padding, private groups after 7FE0) is not read.
        last = 0x7FE00010 if "PixelData" in ours else 0xFFFFFFFF
        theirs_tags = {tag for tag in theirs.keys() if tag <= last and tag not in {0x7FE00008, 0x7FE00009}}  # noqa: SIM118
        assert set(ours.keys()) == theirs_tags
        for tag in theirs_tags:
            assert ours[tag] == theirs[tag]


def test_knows_the_lossy_files():
    context = HeaderContext(pseudonyms=PSEUDONYMS, region_rules=RULES, modalities=None, frames="first")
    lossy = set()
    for name, expected in EXPECTED.items():
        if expected is None or len(expected) == 2:
            found = read_header(FILES / name, context)
            if found.lossy:
                lossy.add(Path(name).name)
    assert lossy == LOSSY


def test_leaves_a_spacing_of_zero_out():
    context = HeaderContext(pseudonyms=PSEUDONYMS, region_rules=RULES)
    found = read_header(FILES / "pydicom__pydicom-data/RG1_J2KI.dcm", context)
    assert (found.pixel_spacing_row_mm, found.spacing_source) == (None, None)


def test_prints_and_logs_nothing(capfd, caplog):
    with caplog.at_level(logging.INFO):
        for name in EXPECTED:
            outcome(FILES / name, modalities=None)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_reads_headers_fast():
    paths = [FILES / name for name, expected in EXPECTED.items() if expected in {"CR", "DX"}]
    context = HeaderContext(pseudonyms=PSEUDONYMS, region_rules=RULES)
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        for path in paths:
            read_header(path, context)
        best = min(best, (time.perf_counter() - started) / len(paths))
    # 0.45 ms measured, of which 0.15 ms are reading and parsing; at ten times that a scan would be slower than a drive.
    assert best < 0.005
    assert all("PixelData" not in read_before_pixels(path).dataset for path in paths)
