"""Reports as a browser shows them: no message, nothing from elsewhere, readable at any width, by day and by night.

Needs Chromium: `sh tests/browser/install_chromium.sh` installs Debian's. Set RADIO_SCREENSHOTS to keep the pictures.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radio_io.reporting.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; run: sh tests/browser/install_chromium.sh"),
]
QUIET = (
    "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-sync --disable-extensions "
    "--disable-background-networking --disable-component-update --disable-default-apps --virtual-time-budget=5000"
).split()
WIDTHS = {"wide": (1280, 900), "phone": (500, 900)}
DARK = {"light": 1, "dark": 0}
"""Values of Blink's setting `preferredColorScheme`."""
PROBE = "<script>document.title=[document.documentElement.scrollWidth,innerWidth].join(' ')</script></body>"


def browse(profile, page, *options):
    """Open a page; returns what Chromium prints."""
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "--enable-logging=stderr", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def report(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(built.root, out)
    return out


@pytest.mark.parametrize("scheme", DARK)
@pytest.mark.parametrize("width", WIDTHS)
def test_is_shown_without_errors_and_without_a_network(report, tmp_path, width, scheme):
    size = ",".join(map(str, WIDTHS[width]))
    picture, log = tmp_path / f"{width}-{scheme}.png", tmp_path / "net.json"
    colours = f"--blink-settings=preferredColorScheme={DARK[scheme]}"
    done = browse(
        tmp_path / "profile",
        report,
        f"--window-size={size}",
        f"--screenshot={picture}",
        f"--log-net-log={log}",
        colours,
    )
    assert "CONSOLE" not in done.stderr
    assert requested_by_the_page(log) == []
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert (np.median(pixels) > 200) == (scheme == "light")
    assert pixels.std() > 10, "nothing was drawn"
    if "RADIO_SCREENSHOTS" in os.environ:
        shutil.copy(picture, os.environ["RADIO_SCREENSHOTS"])


def requested_by_the_page(log):
    """URLs of the network that a page asked for; the browser's own requests have no page as initiator."""
    found = json.loads(log.read_text())
    urls = []
    for event in found["events"]:
        parameters = event.get("params", {})
        url, initiator = parameters.get("url", ""), parameters.get("initiator", "not an origin")
        if re.match(r"(https?|wss?|ftp):", url) and initiator != "not an origin":
            urls.append(url)
    return urls


@pytest.mark.parametrize("width", WIDTHS)
def test_fits_into_the_window(report, tmp_path, width):
    page = tmp_path / "probed.html"
    page.write_text(report.read_text().replace("</body>", PROBE))
    size = ",".join(map(str, WIDTHS[width]))
    shown = browse(tmp_path / "profile", page, f"--window-size={size}", "--dump-dom").stdout
    content, window = map(int, re.search(r"<title>(\d+) (\d+)</title>", shown).groups())
    assert content <= window


def test_the_probe_of_requests_sees_them(tmp_path):
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('seen')</script>")
    done = browse(tmp_path / "profile", page, f"--log-net-log={log}", "--dump-dom")
    assert "CONSOLE" in done.stderr
    assert requested_by_the_page(log) == ["http://127.0.0.1:9/x.png"]


def test_is_printed(report, tmp_path):
    out = tmp_path / "report.pdf"
    browse(tmp_path / "profile", report, f"--print-to-pdf={out}", "--no-pdf-header-footer")
    assert out.read_bytes().startswith(b"%PDF")
    assert Path(out).stat().st_size > 10_000
