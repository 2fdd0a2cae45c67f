import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from stepdown.compare.plot import Plot
from stepdown.compare.report import Report, Table, render, write_report

VOID = {"meta", "input", "!doctype"}
SHAPES = {"line", "path", "circle"}

TABLE = Table(
    "Rows",
    ("name", "count", "value", "ok"),
    [("a", 1, 0.5, True), ("b", 20, math.inf, False), ("c", 3, None, None)],
    [1],
)
PLOT = Plot("Curve", ["a", "b", "c"], {"y": [0.5, math.inf, None]}, "dB", {"limit": 0.25}, [1, 2])


class Checker(HTMLParser):
    """Fails on tags that are not closed in order; collects tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_network():
    page = render(Report("Title", True, {"n": 3}, {"file": "x"}, (PLOT, TABLE)))
    seen = Checker(page).seen
    assert seen.count("tr") == 4
    assert seen.count("svg") == 1
    assert not re.search(r"(src|href)=(?!\"#)|url\(|@import|https?:", page)
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(("passed", "word"), [(True, ">PASSED<"), (False, ">FAILED<"), (None, None)])
def test_the_verdict(passed, word):
    page = render(Report("Title", passed))
    assert (word in page) if word else ("PASSED" not in page and "FAILED" not in page)


def test_cells():
    page = render(Report("Title", sections=[TABLE]))
    assert '<td class="n" data-v="0.5" title="0.5">0.5</td><td>yes</td>' in page
    assert '<td class="n" data-v="Infinity" title="inf">∞</td><td>no</td>' in page
    assert "<td class=n>–</td>" in page
    assert '<tr id="t0r1" class=bad>' in page
    assert page.count('<th scope="col" class="n">') == 2
    assert "failed only" in page
    assert "failed only" not in render(Report("Title", sections=[Table("Rows", ("a",), [("b",)])]))


def test_points_lead_to_the_rows_of_the_table():
    page = render(Report("Title", sections=[PLOT, TABLE]))
    links = re.findall(r'href="#([^"]+)"', page)
    assert links == ["t1r0", "t1r1", "t1r2"]
    assert all(f'<tr id="{link}"' in page for link in links)


def test_a_report_is_written_whole(tmp_path):
    write_report(tmp_path / "a.html", Report("Title"))
    assert (tmp_path / "a.html").read_text().endswith("</html>\n")


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

DRIVE = """
<script>
const names = () => [...document.querySelectorAll("tbody tr")].filter(r => !r.hidden).map(r => r.cells[0].textContent);
const head = i => document.querySelectorAll("th button")[i].click();
const log = [];
head(1); log.push(names()); head(1); log.push(names()); head(2); log.push(names());
const search = document.querySelector("input[type=search]");
search.value = "C"; search.dispatchEvent(new Event("input")); log.push(names());
search.value = ""; search.dispatchEvent(new Event("input"));
document.querySelector("input[type=checkbox]").click(); log.push(names());
document.title = "LOG" + JSON.stringify(log) + document.querySelector(".shown").textContent;
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_sorting_and_filtering_in_a_browser(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(render(Report("Title", sections=[PLOT, TABLE])).replace("</body>", DRIVE + "</body>"))
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
        "--dump-dom",
    ]
    dom = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=60).stdout
    log = '[["a","c","b"],["b","c","a"],["a","b","c"],["c"],["b"]]1 of 3 rows'
    assert f"LOG{log}" in dom
