"""The page in a real browser: its filter shows what was asked for, and it fits narrow and wide windows."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.explained import class_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed ({', '.join(BROWSERS)})"),
]


def after(page: str, script: str, folder: Path) -> str:
    """What the page's title is after a script has run in it."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1400,900", "--virtual-time-budget=2000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL).group(1)


def choose(**values: str) -> str:
    """A script that chooses values as a person does, and writes the shown figures and sections into the title."""
    chosen = "".join(
        f"document.getElementById('{name}').value = '{value}';"
        f"document.getElementById('{name}').dispatchEvent(new Event('input', {{bubbles: true}}));"
        for name, value in values.items()
    )
    return chosen + (
        "const visible = figure => figure.offsetParent !== null;"
        "const seen = [...document.querySelectorAll('figure')].filter(visible)"
        ".map(f => f.dataset.labels + ':' + f.dataset.error);"
        "const titles = [...document.querySelectorAll('section h2')].filter(visible).map(h => h.textContent);"
        "const count = document.getElementById('count').value;"
        "document.title = [count, [...new Set(seen)].join(), titles.join()].join('|');"
    )


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return class_page(tmp_path, 3)


def test_everything_is_shown_at_first(page, tmp_path):
    assert after(page, choose(), tmp_path).startswith("12 of 12 shown|")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"class": "1"}, "4 of 12 shown|1:unlabeled object,1:background,1:missed object,1:true positive|"),
        ({"error": "missed object"}, "3 of 12 shown|0:missed object,1:missed object,2:missed object|"),
        ({"score": "0.75"}, "3 of 12 shown|0:true positive,1:true positive,2:true positive|"),
        ({"class": "2", "error": "background", "score": "0.5"}, "1 of 12 shown|2:background|"),
        ({"class": "2", "error": "background", "score": "0.7"}, "0 of 12 shown||"),
    ],
)
def test_filter_shows_the_chosen_class_kind_and_score(page, tmp_path, values, expected):
    assert after(page, choose(**values), tmp_path).startswith(expected)


def test_sections_without_shown_figures_are_hidden(page, tmp_path):
    titles = after(page, choose(error="true positive"), tmp_path).split("|")[2]
    assert titles == "Labels to look at first,Hits"


@pytest.mark.parametrize("classes", [3, 80])
@pytest.mark.parametrize("width", [400, 1400])
def test_page_is_as_wide_as_the_window(tmp_path, monkeypatch, classes, width):
    monkeypatch.chdir(tmp_path)
    # Windows have at least 500 px; frames may be narrower.
    script = "parent.postMessage(`${window.innerWidth} ${document.documentElement.scrollWidth}`, '*')"
    framed = class_page(tmp_path, classes).replace("</body>", f"<script>{script}</script></body>")
    (tmp_path / "framed.html").write_text(framed, encoding="utf-8")
    page = f"<title></title><body><iframe width={width} height=800 src=framed.html></iframe></body>"
    inner, content = after(page, "onmessage = event => document.title = event.data", tmp_path).split()
    assert int(inner) == width
    assert int(content) <= width
