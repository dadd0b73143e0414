"""Pictures of cost and quality: Vega's, the terminal's, and the page that holds them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from routecost.recommend.frontier import Point
from routecost.render import Column, Document, Section
from routecost.render.html import page
from routecost.render.labels import Box, Wanted, place, width
from routecost.render.pictures import (
    WIDTHS,
    frontier_chart,
    frontier_figure,
    frontier_section,
    plot,
    png,
    specification,
    svg,
    theme,
)

POINTS = (
    Point("eco", "mode", 100.0, 0.86, 0.83, 0.89),
    Point("sport", "mode", 400.0, 0.94, 0.92, 0.96),
    Point("today", "today", 500.0, 0.90, 0.88, 0.92),
    Point("random split", "random", 400.0, 0.87),
    Point("gpt-5.4", "single", 480.0, 0.91, 0.2, 0.99),
    Point("gpt-5.4-nano", "single", 50.0, 0.80),
    Point("t1", "frontier", 50.0, 0.82, 0.80, 0.84),
    Point("t2", "frontier", 150.0, 0.90, 0.88, 0.92),
    Point("t3", "frontier", 450.0, 0.95, 0.93, 0.97),
)
HOSTILE = "a\x00\x1b[31m</script><img src=x onerror=alert(1)>&\ud800\n"

names = st.text(max_size=40)
shares = st.floats(0, 1)
points_ = st.lists(
    st.builds(
        Point,
        names,
        st.sampled_from(["mode", "single", "today", "random", "frontier"]),
        st.floats(0, 1e7),
        shares,
        st.none() | shares,
        st.none() | shares,
    ),
    max_size=20,
)


def rows(chart: Any) -> list[dict[str, Any]]:
    spec = specification(chart)
    (values,) = spec["datasets"].values()
    return list(values)


# the chart


def test_every_point_is_in_the_chart_and_modes_and_today_have_labels() -> None:
    for at in WIDTHS:
        data = rows(frontier_chart(POINTS, unit="a day", width=at))
        assert sorted(r["name"] for r in data) == sorted(p.name for p in POINTS)
        assert {"eco", "sport", "today"} <= {r["label"] for r in data}
        assert all(r["label"] is None for r in data if r["kind"] == "frontier")


def test_today_is_drawn_over_the_modes_and_they_over_the_rest() -> None:
    kinds = list(dict.fromkeys(r["kind"] for r in rows(frontier_chart(POINTS, unit="a day"))))
    assert kinds == ["frontier", "single", "random", "mode", "today"]


def test_tooltips_say_what_the_tables_say() -> None:
    eco = next(r for r in rows(frontier_chart(POINTS, unit="a day")) if r["name"] == "eco")
    assert (eco["cost"], eco["score"], eco["interval"]) == ("$100.00 a day", "0.860", "0.830 to 0.890")
    random = next(r for r in rows(frontier_chart(POINTS, unit="a day")) if r["kind"] == "random")
    assert random["interval"] == "not known"
    assert random["low"] is None


def test_a_single_models_long_interval_does_not_flatten_the_picture() -> None:
    single = next(r for r in rows(frontier_chart(POINTS, unit="a day")) if r["name"] == "gpt-5.4")
    assert 0.7 < single["low"] < 0.8
    assert single["interval"] == "0.200 to 0.990"


@pytest.mark.parametrize(
    ("costs", "kind"),
    [((4.0, 100.0), "log"), ((4.01, 100.0), "linear"), ((0.0, 100.0), "linear"), ((5.0, 5.0), "linear")],
)
def test_costs_that_lie_far_apart_get_a_logarithmic_axis(costs: tuple[float, ...], kind: str) -> None:
    chart = frontier_chart([Point("m", "single", cost, 0.9) for cost in costs], unit="in all")
    scales = [x for layer in specification(chart)["layer"] if (x := layer["encoding"].get("x")) and "scale" in x]
    assert {x["scale"]["type"] for x in scales} == {kind}
    assert {x["title"] for x in scales} == {"Cost, USD in all" + (" (logarithmic)" if kind == "log" else "")}


def test_a_theme_changes_nothing_but_the_configuration() -> None:
    chart = frontier_chart(POINTS, unit="a day")
    light, dark, bare = (specification(chart, dark=d) for d in (False, True, None))
    assert light.pop("config") == theme()
    assert dark.pop("config") == theme(dark=True)
    assert light == dark == bare
    assert not re.search(r"https?:|#[0-9a-f]{6}", json.dumps(bare))


@pytest.mark.parametrize("dark", [False, True])
def test_colours_stand_out_from_the_surface(dark: bool) -> None:
    colours = {p["name"]: p["value"] for p in theme(dark)["params"]}

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(colour: str) -> float:
        one, two = sorted((luminance(colours[colour]), luminance(colours["surface"])))
        return (two + 0.05) / (one + 0.05)

    # https://www.w3.org/TR/WCAG21/#contrast-minimum and #non-text-contrast
    assert {c for c in ("ink", "soft", "strong", "alert", "other") if contrast(c) < 4.5} == set()
    assert contrast("quiet") >= 3
    assert contrast("line") >= 2.5


def test_png_and_svg() -> None:
    chart = frontier_chart(POINTS, unit="a day")
    image = png(chart, scale=1)
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    across, down = struct.unpack(">II", image[16:24])
    assert 700 <= across <= 780
    assert 400 <= down <= 600
    assert png(chart, scale=1) == image
    assert png(chart, dark=True, scale=1) != image
    drawn = ET.fromstring(svg(chart))
    texts = {"".join(e.itertext()) for e in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"eco", "sport", "today", "gpt-5.4-nano", "Expected quality", "Cost, USD a day", "$200", "0.90"} <= texts


@pytest.mark.parametrize(
    "points",
    [
        (),
        (Point("eco", "mode", 0.0, 0.0),),
        (Point("eco", "mode", 5.0, 1.0), Point("today", "today", 5.0, 1.0, 1.0, 1.0)),
        (Point(HOSTILE, "mode", 1.0, 0.9), Point(HOSTILE, "single", 2.0, 0.9), Point("", "frontier", 1.0, 0.9)),
        (Point("t", "frontier", 2e-9, 0.9), Point("u", "frontier", 9e9, 0.9)),
    ],
    ids=["none", "nothing", "same place", "hostile", "far apart"],
)
def test_odd_points_are_drawn(points: tuple[Point, ...]) -> None:
    chart = frontier_chart(points, unit="a day")
    assert png(chart, scale=1)
    assert "<img" not in svg(chart)
    ET.fromstring(svg(chart))


def test_importing_does_not_load_what_draws() -> None:
    code = "import sys, routecost.render.html; print({'altair', 'vl_convert', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


# labels

FRAME = Box(0, 0, 300, 200)
places = st.tuples(st.floats(0, 300), st.floats(0, 200), st.text("abcdef", min_size=1, max_size=20), st.booleans())


@given(st.lists(places, max_size=12))
def test_labels_that_can_be_left_out_cover_nothing(spots: list[tuple[float, float, str, bool]]) -> None:
    wanted = [Wanted(text, x, y, 4, 11, must=must) for x, y, text, must in spots]
    marks = [Box(w.x - 4, w.y - 4, w.x + 4, w.y + 4) for w in wanted]
    found = place(wanted, FRAME, marks, [])
    assert len(found) == len(wanted)
    boxes: list[Box] = []
    for label, spot in zip(wanted, found, strict=True):
        if spot is None:
            assert not label.must
            continue
        wide = width(label.text, label.size)
        start = label.x + spot.dx - {"left": 0.0, "center": wide / 2, "right": wide}[spot.align]
        box = Box(start, label.y + spot.dy - 6.6, start + wide, label.y + spot.dy + 6.6)
        if not label.must:
            assert box.within(FRAME)
            assert all(box.overlap(other) < 1e-6 for other in [*marks, *boxes])
        boxes.append(box)


def test_a_label_keeps_off_a_line_where_it_can() -> None:
    label = Wanted("name", 100, 100, 4, 11)
    (free,) = place([label], FRAME, [], [])
    (beside,) = place([label], FRAME, [], [Box(106, 99, 200, 101)])
    assert free is not None
    assert beside is not None
    assert free.align == "left"
    assert beside.align == "right"


# the terminal


def test_plot() -> None:
    assert plot(POINTS, width=56, height=8, unit="a day") == [
        "Expected quality, by cost, USD a day",
        " 0.95 ┤                                   ········",
        "      │                      ·············  S",
        " 0.90 ┤             ·········                      b T",
        "      │           ··",
        "      │         E·                          R",
        " 0.85 ┤       ··",
        "      │     ··",
        " 0.80 ┤     a",
        "      └┬─────────────────┬──────────────────┬───────────",
        "       $0              $200               $400",
        "E  eco           $100.00  0.860  0.830 to 0.890",
        "S  sport         $400.00  0.940  0.920 to 0.960",
        "T  today         $500.00  0.900  0.880 to 0.920",
        "R  random split  $400.00  0.870",
        "a  gpt-5.4-nano   $50.00  0.800",
        "b  gpt-5.4       $480.00  0.910  0.200 to 0.990",
        "·  best quality for the money",
    ]


def test_plot_in_ascii_has_the_same_lines() -> None:
    table = str.maketrans("·└│┤─┬", ".+|+-+")
    assert plot(POINTS, ascii=True) == [line.translate(table) for line in plot(POINTS)]


def test_points_in_one_place_are_told() -> None:
    lines = plot([Point("eco", "mode", 5, 0.9), Point("today", "today", 5, 0.9), Point("m", "single", 9, 0.9)])
    assert lines[-3:] == ["E  eco    $5.00  0.900", "T  today  $5.00  0.900  at E", "a  m      $9.00  0.900"]


def test_more_points_than_letters_are_all_listed() -> None:
    lines = plot([Point(f"m{k}", "single", 1.0 + k, 0.5 + k / 200) for k in range(80)])
    told = [line[0] for line in lines if re.match(r"\S  m\d", line)]
    assert len(told) == 80
    assert len(set(told) - {"*"}) == 62


def test_plot_of_nothing() -> None:
    assert plot([]) == ["No quality is known."]


@given(points_, st.integers(32, 140), st.integers(1, 30), st.booleans())
def test_a_plot_keeps_within_its_width_and_moves_no_cursor(
    points: list[Point], wide: int, height: int, ascii: bool
) -> None:
    lines = plot(points, wide, height, ascii, unit="a day")
    assert all(cell_len(line) <= wide for line in lines)
    assert all(line.isprintable() for line in lines)
    if ascii:
        assert all(line.isascii() for line in lines)
    if points:
        legend = sum(p.kind != "frontier" for p in points) + any(p.kind == "frontier" for p in points)
        assert len(lines) == max(height, 4) + 3 + legend


# the page

DOCUMENT = Document(
    "recommend",
    ("not on the page: it has its own sentences",),
    (
        Section(
            "By task",
            (Column("task", "Task"), Column("model", "Model", "span"), Column("cost", "Cost", "usd")),
            ({"task": HOSTILE, "model": "gpt-5.4", "cost": 1234.5}, {"task": "code", "model": None, "cost": None}),
            {"task": "all", "cost": 0.01234},
            ("a note on <tasks>",),
        ),
    ),
    notes=("a note on it all",),
)


class Read(HTMLParser):
    """Tags, attributes, and the text of tables, scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data


@pytest.fixture(scope="module")
def hostile_page() -> str:
    points = [*POINTS, Point(HOSTILE, "mode", 200.0, 0.9, 0.8, 1.0), Point("</script><b>", "single", 222.0, 0.85)]
    return page(f"Table of {HOSTILE}", [f"Of {HOSTILE}."], [frontier_figure(points, unit="a day")], DOCUMENT)


def test_the_page_has_the_document_and_the_data_of_the_picture(hostile_page: str) -> None:
    read = Read(hostile_page)
    shown = "a\ufffd\ufffd[31m</script><img src=x onerror=alert(1)>&\ufffd\ufffd"
    assert read.texts["h1"] == [f"Table of {shown}"]
    assert read.texts["p"] == [f"Of {shown}."]
    assert read.texts["h2"] == ["By task"]
    cells = read.texts["td"]
    assert cells[-9:] == [shown, "gpt-5.4", "$1,234", "code", "-", "-", "all", "", "$0.0123"]
    assert cells[:5] == ["eco", "recommended, by mode", "$100.00", "0.86", "0.830 to 0.890"]
    assert len(cells) == 9 + 5 * (len(POINTS) + 2)
    assert read.texts["li"] == ["a note on <tasks>", "a note on it all"]
    (about,) = [a["aria-label"] or "" for t, a in read.tags if t == "div" and a.get("role") == "img"]
    assert "today: $500.00 a day, quality 0.900" in about


def test_the_page_loads_nothing_and_runs_nothing_else(hostile_page: str) -> None:
    read = Read(hostile_page)
    # the still pictures name the namespaces of SVG, and nothing else has a URL
    for tag, attributes in read.tags:
        assert tag not in ("img", "link", "iframe", "object", "base", "b", "a", "image", "use"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "href", "style", "xlink:href"), (tag, name)
            assert "://" not in (value or "") or name.startswith("xmlns"), (tag, name, value)
    policy = next(a["content"] for t, a in read.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy

    def hashes(texts: list[str]) -> str:
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts)

    data, *scripts = read.texts["script"]
    assert rules["script-src"] == hashes(scripts)
    assert rules["style-src"] == hashes(read.texts["style"])
    assert "http" not in data
    loaded = json.loads(data)
    assert [chart["width"] for chart in loaded["figures"][0]] == list(WIDTHS)
    assert set(loaded["themes"]) == {"light", "dark"}


def test_a_page_without_pictures_has_no_script() -> None:
    html = page("Title", [], [], DOCUMENT)
    assert "<script" not in html
    assert "script-src &#39;none&#39;" in html


def test_the_same_page_every_time() -> None:
    first, second = (page("Title", [], [frontier_figure(POINTS, unit="a day")], DOCUMENT) for _ in range(2))
    assert first == second


def test_the_table_of_a_picture() -> None:
    section = frontier_section(POINTS, unit="in all")
    assert [r["name"] for r in section.rows] == [
        "eco", "sport", "today", "random split", "gpt-5.4-nano", "gpt-5.4", "t1", "t2", "t3",
    ]  # fmt: skip
    assert section.columns[2].header == "Cost, USD in all"


# a real browser


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here")
    return found


def opened(browser: str, html: str, folder: Path) -> tuple[str, list[str]]:
    """The page after its scripts have run, and what was written to the console."""
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8", newline="")
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=5000",
            "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_draws_the_page_under_its_policy(browser: str, hostile_page: str, tmp_path: Path) -> None:
    dom, console = opened(browser, hostile_page, tmp_path)
    assert console == []
    read = Read(dom)
    classes = [a.get("class") or "" for _, a in read.tags]
    assert any("vega-embed" in c for c in classes)
    assert not any("still" in c for c in classes), "the still pictures give way"
    assert {"eco", "sport", "today"} <= set(read.texts["text"])
    assert "img" not in read.texts


def test_a_browser_refuses_a_script_that_is_not_the_pages_own(browser: str, hostile_page: str, tmp_path: Path) -> None:
    dom, console = opened(browser, hostile_page.replace("</body>", "<script>alert(1)</script></body>"), tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert "vega-embed" in dom
