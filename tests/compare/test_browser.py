"""Reports in a browser: everything is there, and nothing is wider than a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from keras_adamx.compare.report import Report
from tests.compare import synthetic

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(NAMES)} is there"),
]

# The report may run no script: the page around it measures it.
AROUND = """<!DOCTYPE html>
<body>
<iframe id="inside" style="width: {width}px; height: 900px; border: 0"
 srcdoc="{source}"></iframe>
<pre id="found"></pre>
<script>
const frame = document.getElementById("inside");
frame.onload = () => {{
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(each => each.open = true);
  const seen = selector => [...page.querySelectorAll(selector)].filter(each => {{
    const box = each.getBoundingClientRect();
    return box.width > 20 && box.height > 20;
  }}).length;
  const outside = [...page.body.querySelectorAll("*")].filter(each => {{
    const box = each.getBoundingClientRect();
    const hidden = each.closest("thead") || each.closest("svg")
      || ({width} === 1000 && each.closest(".table"));
    return !hidden && box.right > {width} + 0.5;
  }});
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.clientWidth,
    needed: page.documentElement.scrollWidth,
    tables: seen("table"),
    pictures: seen("figure > svg"),
    sections: seen("h2"),
    outside: outside.map(each => each.outerHTML.slice(0, 100)),
    colour: getComputedStyle(page.body).backgroundColor,
  }});
}};
</script>
"""


def opened(source, width, tmp_path, *options):
    """What a browser finds in a page of so many pixels."""
    path = tmp_path / "around.html"
    path.write_text(AROUND.format(width=width, source=html.escape(source)), "utf-8")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=10000",
            "--window-size=1400,1000",
            *options,
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def source():
    """A page with everything that a page can have."""
    wide = "Verylongnamewithoutanyspacebetween_" * 3 + "<b>"
    comparisons = [synthetic.usual(name) for name in ("digits", "letters")]
    return Report([synthetic.renamed(each, wide) for each in comparisons]).to_html()


@pytest.mark.parametrize("width", [320, 360, 800, 1000, 1280])
def test_everything_is_seen_and_fits(source, width, tmp_path):
    found = opened(source, width, tmp_path)
    assert found["needed"] <= found["width"] <= width
    assert found["outside"] == []
    assert found["tables"] == source.count("<table") == 16
    assert found["pictures"] == source.count("<svg") == 18
    assert found["sections"] == 4


def test_dark_and_light(source, tmp_path):
    found = [
        opened(source, 800, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")
        for scheme in (0, 1)
    ]
    assert [each["colour"] for each in found] == [
        "rgb(20, 24, 29)",
        "rgb(255, 255, 255)",
    ]
