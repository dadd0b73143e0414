"""Pictures of results: drawn by Vega, or by letters in a terminal."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len, set_cell_size

from routecost.recommend.frontier import Kind, Point
from routecost.render import Column, Section, usd
from routecost.render.labels import Box, Wanted, place

if TYPE_CHECKING:
    import altair

WIDTH: Final = 760
# a page shows the widest that fits: a desk, a tablet, a phone
WIDTHS: Final = (920, 620, 340)

KINDS: Final[Mapping[Kind, str]] = {
    "mode": "recommended, by mode",
    "today": "today",
    "random": "same spend, models at random",
    "single": "all on one model",
    "frontier": "best quality for the money",
}
QUALITY: Final = "Expected quality"
INTERVAL: Final = "95% interval"
_NOTHING: Final = "No quality is known."

# what a chart takes beside its plot: the axis and a margin
BESIDE: Final = 62

# faces of the same widths, so that labels stand where they were placed
_FONT: Final = "Arial, 'Liberation Sans', Helvetica, sans-serif"
# Blue and vermilion stay apart in every common colour blindness (Wong 2011, https://doi.org/10.1038/nmeth.1618); shapes
# and labels say the same once more. Each has a contrast of at least 4.5 with its surface, except the quiet ones (3).
_LIGHT: Final = {
    "surface": "#ffffff", "ink": "#1b2330", "soft": "#566070", "grid": "#e6e9ee", "strong": "#0b5cad",
    "line": "#6a9fd4", "alert": "#c24100", "other": "#8a3d8f", "quiet": "#858d99",
}  # fmt: skip
_DARK: Final = {
    "surface": "#14181f", "ink": "#eef1f5", "soft": "#a9b2bf", "grid": "#2a303a", "strong": "#62b0ff",
    "line": "#3f76ab", "alert": "#ff9056", "other": "#d896dd", "quiet": "#7d8795",
}  # fmt: skip
_INK: Final[Mapping[Kind, str]] = {
    "mode": "strong", "today": "alert", "random": "other", "single": "quiet", "frontier": "line",
}  # fmt: skip
_SHAPE: Final[Mapping[Kind, str]] = {
    "mode": "circle", "today": "diamond", "random": "cross", "single": "square", "frontier": "circle",
}  # fmt: skip
_AREA: Final[Mapping[Kind, int]] = {"mode": 220, "today": 130, "random": 130, "single": 60, "frontier": 16}
# The order in tables, and whose label is placed first.
_RANK: Final[Mapping[Kind, int]] = {"mode": 0, "today": 1, "random": 2, "single": 3, "frontier": 4}
# Who is drawn over whom: today is the smaller mark, and is seen on a mode that it shares a place with.
_DRAWN: Final[Sequence[Kind]] = ("frontier", "single", "random", "mode", "today")
_NAMED: Final = 14  # single models that get a label
_LONGEST: Final = 34
_LEAST: Final = 1e-9  # less costs nothing: it is what is left over when floats are added
_LOG_FROM: Final = 25.0  # the dearest so many times the cheapest: on a linear axis the cheap ones would be one blot


@dataclass(frozen=True)
class Figure:
    """A picture for a page: the same chart at several widths (the widest first), what it shows in a sentence, and its
    data as a table."""

    title: str
    about: str
    charts: Sequence[altair.LayerChart]
    table: Section


def theme(dark: bool = False) -> dict[str, Any]:
    """The Vega-Lite configuration of every chart.

    Colours are parameters (`ink`, `soft`, `strong`, `alert`, `other`, `quiet`, `line`, `grid`, `surface`) that marks
    name in expressions; so a chart takes the other theme by another configuration, and is otherwise the same.
    """
    colours = _DARK if dark else _LIGHT
    text = {"labelFont": _FONT, "titleFont": _FONT, "labelColor": colours["soft"], "titleColor": colours["soft"]}
    return {
        "params": [{"name": name, "value": value} for name, value in colours.items()],
        "background": colours["surface"],
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            **text, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600, "gridColor": colours["grid"],
            "domainColor": colours["soft"], "tickColor": colours["soft"], "ticks": False, "labelPadding": 6,
        },
        "axisY": {"domain": False},
        "axisX": {"grid": False, "titlePadding": 10},
        "legend": {**text, "labelFontSize": 12, "labelColor": colours["ink"], "symbolStrokeWidth": 0,
            "labelLimit": 0, "columnPadding": 18, "rowPadding": 4},
        "title": {"font": _FONT, "color": colours["ink"], "fontSize": 15, "fontWeight": 600, "anchor": "start"},
        "range": {
            "category": [colours[c] for c in ("strong", "alert", "other", "quiet", "line")],
            "ramp": [colours["grid"], colours["strong"]],
        },
    }  # fmt: skip


def frontier_figure(points: Sequence[Point], *, unit: str) -> Figure:
    """Cost against quality for a page. unit: "a day", "in all"."""
    return Figure(
        "Cost and quality",
        _about(points, unit),
        [frontier_chart(points, unit=unit, width=width) for width in WIDTHS],
        frontier_section(points, unit=unit),
    )


def frontier_section(points: Sequence[Point], *, unit: str) -> Section:
    """The points as a table: modes, today, the controls from the cheapest, then the frontier."""
    rows = [
        {
            "name": p.name,
            "what": KINDS[p.kind],
            "cost_usd": p.cost_usd,
            "quality": p.quality,
            "interval": _interval(p),
        }
        for p in sorted(points, key=_told)
    ]
    columns = (
        Column("name", "Table or model"),
        Column("what", "What it is"),
        Column("cost_usd", f"Cost, USD {unit}", "usd"),
        Column("quality", QUALITY, "number"),
        Column("interval", INTERVAL, "span"),
    )
    return Section("Cost and quality", columns, rows)


def frontier_chart(points: Sequence[Point], *, unit: str, width: int = WIDTH) -> altair.LayerChart:
    """Cost against expected quality, in the light theme. Labels are placed for this width; one of a single model that
    would cover something is left out. Costs that lie far apart, and are all above 0, get a logarithmic axis."""
    import altair as alt

    narrow = width < 480
    frame = Box(0, 0, width - BESIDE, 290 if narrow else 380 if width < 800 else 430)
    across, down = _Axis.of_costs(points, frame.right, 4 if narrow else 8), _Axis.of_qualities(points, frame.bottom, 7)
    rows = _rows(points, frame, across, down, unit)
    if not points:
        nothing = alt.Chart(alt.InlineData(values=[{}])).mark_text(text=_NOTHING, color=alt.ExprRef("soft"))
        return _framed([nothing], frame.right, 60)
    kinds = [kind for kind in KINDS if any(p.kind == kind for p in points)]

    x = alt.X(
        "cost_usd:Q",
        title=f"Cost, USD {unit}" + (" (logarithmic)" if across.log else ""),
        scale=alt.Scale(domain=[across.low, across.high], type="log" if across.log else "linear", nice=False),
        # a format would make Vega drop labels of a logarithmic axis
        axis=alt.Axis(labelExpr="format(datum.value, '$,.4~r')", values=across.ticks, labelFlush=True),
    )
    y = alt.Y(
        "quality:Q",
        title=QUALITY,
        scale=alt.Scale(domain=[down.low, down.high], nice=False, zero=False),
        axis=alt.Axis(
            format=f".{down.digits}f", values=down.ticks, titleAngle=0, titleAlign="left", titleAnchor="end",
            titleX=-40, titleY=-14, minExtent=34, maxExtent=34,
        ),
    )  # fmt: skip
    palette: list[Any] = [alt.ExprRef(_INK[kind]) for kind in kinds]
    legend = alt.Legend(title=None, orient="bottom", columns=1 if narrow else 3 if width < 900 else 5, offset=14)
    color = alt.Color("what:N", scale=alt.Scale(domain=[KINDS[k] for k in kinds], range=palette), legend=legend)
    shape = alt.Shape(
        "what:N",
        scale=alt.Scale(domain=[KINDS[k] for k in kinds], range=[_SHAPE[k] for k in kinds]),
        legend=legend,
    )
    tooltip = [
        alt.Tooltip("name:N", title="title"),
        alt.Tooltip("what:N", title="what"),
        alt.Tooltip("cost:N", title="cost"),
        alt.Tooltip("score:N", title="quality"),
        alt.Tooltip("interval:N", title=INTERVAL),
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, y=y)
    today = base.transform_filter("datum.kind === 'today'")
    front = base.transform_filter("datum.kind === 'frontier'")
    drawn = base.transform_filter("datum.kind !== 'frontier'")
    cross: dict[str, Any] = {"strokeDash": [3, 4], "opacity": 0.7, "color": alt.ExprRef(_INK["today"])}
    label: dict[str, Any] = {
        "baseline": "middle",
        "dx": alt.ExprRef("datum.dx"),
        "dy": alt.ExprRef("datum.dy"),
        "align": alt.ExprRef("datum.align"),
        "fontSize": alt.ExprRef("datum.size"),
        "fontWeight": alt.ExprRef("datum.weight"),
    }
    labelled = drawn.transform_filter("datum.label !== null").encode(text="label:N")
    layers = [
        today.mark_rule(**cross).encode(y2=alt.value(frame.bottom)),
        today.mark_rule(**cross).encode(x2=alt.value(0)),
        front.transform_filter("datum.low !== null")
        .mark_area(color=alt.ExprRef("line"), opacity=0.16)
        .encode(y=alt.Y("low:Q"), y2="high:Q"),
        front.mark_line(color=alt.ExprRef("line"), strokeWidth=2.5, strokeJoin="round").encode(order="cost_usd:Q"),
        drawn.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=alt.ExprRef("datum.kind === 'single' ? 1 : 2"), strokeCap="round")
        .encode(
            y=alt.Y("low:Q"), y2="high:Q", color=color,
            opacity=alt.condition("datum.kind === 'single'", alt.value(0.55), alt.value(1)),
        ),
        base.mark_point(filled=True, opacity=1, stroke=alt.ExprRef("surface"), strokeWidth=1.2)
        .encode(color=color, shape=shape, size=alt.Size("area:Q", scale=None, legend=None)),
        labelled.mark_text(**label, stroke=alt.ExprRef("surface"), strokeWidth=3.5, strokeJoin="round"),
        labelled.mark_text(**label, color=alt.ExprRef("datum.kind === 'single' ? soft : ink")),
        # what a finger can hit
        base.mark_circle(opacity=0, size=360).encode(tooltip=tooltip),
    ]  # fmt: skip
    return _framed(layers, frame.right, frame.bottom)


def _framed(layers: Sequence[altair.Chart], width: float, height: float) -> altair.LayerChart:
    import altair as alt

    chart = alt.layer(*layers, width=int(width), height=int(height), padding=8, config=alt.Config(**theme()))
    assert isinstance(chart, alt.LayerChart)
    return chart


def specification(chart: altair.LayerChart, *, dark: bool | None = False) -> dict[str, Any]:
    """The chart for Vega-Lite, with a theme; dark null: without one. It names no URL."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec if dark is None else {**spec, "config": theme(dark)}


def png(chart: altair.LayerChart, *, dark: bool = False, scale: float = 2) -> bytes:
    """The chart as a PNG image; scale: pixels of the image for one of the chart."""
    import vl_convert

    image: bytes = vl_convert.vegalite_to_png(specification(chart, dark=dark), scale=scale, allowed_base_urls=[])
    return image


def svg(chart: altair.LayerChart, *, dark: bool = False) -> str:
    """The chart as an SVG image."""
    import vl_convert

    image: str = vl_convert.vegalite_to_svg(specification(chart, dark=dark), allowed_base_urls=[])
    return image


def printable(text: str) -> str:
    """A name from a log without control characters, which end a picture's XML and move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _rows(points: Sequence[Point], frame: Box, across: _Axis, down: _Axis, unit: str) -> list[dict[str, Any]]:
    """One row a point, the ones that are drawn last at the end, with its label and where that stands."""
    ordered = sorted(points, key=lambda p: (_DRAWN.index(p.kind), -p.cost_usd, p.quality, p.name))
    limit = min(int(frame.right / 14), _LONGEST)
    size = {p.kind: 13.0 if _RANK[p.kind] < 2 else 11.0 for p in ordered}
    singles = [p for p in points if p.kind == "single"]
    singles.sort(key=lambda p: (_better(p, singles), -p.quality, p.cost_usd, p.name))
    named = sorted((p for p in points if p.kind not in ("single", "frontier")), key=lambda p: _RANK[p.kind])
    named += singles[:_NAMED]

    def spot(p: Point) -> tuple[float, float, float]:
        return across.at(p.cost_usd), frame.bottom - down.at(p.quality), math.sqrt(_AREA[p.kind]) / 2

    wanted = [
        Wanted(_shortened(p.name, limit), *spot(p), size[p.kind], _RANK[p.kind] < 2, must=_RANK[p.kind] < 2)
        for p in named
    ]
    marks = [Box(x - r, y - r, x + r, y + r) for x, y, r in (spot(p) for p in points if p.kind != "frontier")]
    line = [spot(p)[:2] for p in sorted(points, key=lambda p: p.cost_usd) if p.kind == "frontier"]
    bars = [
        Box(x - 2, frame.bottom - down.at(high), x + 2, frame.bottom - down.at(low))
        for p, (x, _, _) in ((p, spot(p)) for p in named)
        if (low := p.low) is not None and (high := p.high) is not None
    ]
    crossing = [
        box
        for x, y, _ in (spot(p) for p in named if p.kind == "today")
        for box in (Box(0, y - 1, x, y + 1), Box(x - 1, y, x + 1, frame.bottom))
    ]
    places = place(wanted, frame, marks, [*bars, *crossing, *_along(line)])
    labels = {id(p): (w.text, spot) for p, w, spot in zip(named, wanted, places, strict=True) if spot is not None}
    rows = []
    for p in ordered:
        label = labels.get(id(p))
        known = p.low is not None and p.high is not None
        rows.append(
            {
                "name": printable(p.name),
                "kind": p.kind,
                "what": KINDS[p.kind],
                "cost_usd": p.cost_usd,
                "quality": p.quality,
                # a long interval ends where the picture ends; its tooltip has it all
                "low": down.within(p.low) if known else None,
                "high": down.within(p.high) if known else None,
                "cost": f"{usd(p.cost_usd)} {unit}",
                "score": _score(p.quality),
                "interval": _interval(p) or "not known",
                "area": _AREA[p.kind],
                "size": size[p.kind],
                "weight": 700 if _RANK[p.kind] < 2 else 400,
                "label": label[0] if label else None,
                "dx": label[1].dx if label else None,
                "dy": label[1].dy if label else None,
                "align": label[1].align if label else None,
            }
        )
    return rows


def _better(p: Point, others: Sequence[Point]) -> int:
    """How many others are cheaper and better: of a crowd, the models with few are worth a label."""
    return sum(o.cost_usd < p.cost_usd and o.quality > p.quality for o in others)


def _along(line: Sequence[tuple[float, float]]) -> list[Box]:
    """Small boxes on a line, for labels to keep off."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        steps = max(int(math.hypot(x1 - x0, y1 - y0) / 6), 1)
        for k in range(steps + 1):
            x, y = x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps
            boxes.append(Box(x - 2, y - 2, x + 2, y + 2))
    return boxes


def _told(p: Point) -> tuple[int, float, str]:
    """The order in tables and legends."""
    return _RANK[p.kind], p.cost_usd, p.name if p.kind == "single" else ""


def _about(points: Sequence[Point], unit: str) -> str:
    """The picture in a sentence, for who cannot see it."""
    named = [p for p in points if p.kind in ("mode", "today")]
    told = "; ".join(f"{printable(p.name)}: {usd(p.cost_usd)} {unit}, quality {_score(p.quality)}" for p in named)
    return f"Cost against expected quality{': ' + told if told else ''}."


def _score(value: float) -> str:
    return f"{value:.3f}"


def _interval(p: Point) -> str | None:
    return None if p.low is None or p.high is None else f"{_score(p.low)} to {_score(p.high)}"


def _shortened(name: str, limit: int) -> str:
    """Both ends of a long name: the end tells one version from another."""
    name = printable(name)
    if len(name) <= limit:
        return name
    tail = limit // 2
    return f"{name[: limit - tail - 1]}\u2026{name[-tail:]}"


@dataclass(frozen=True)
class _Axis:
    """A range of values on a length of pixels or characters, with round ticks."""

    low: float
    high: float
    length: float
    ticks: tuple[float, ...]
    digits: int = 2
    log: bool = False

    @staticmethod
    def of_costs(points: Sequence[Point], length: float, marks: int) -> _Axis:
        costs = [p.cost_usd for p in points] or [0.0]
        low, high = min(costs), max(costs)
        if low > _LEAST and high / low >= _LOG_FROM:
            low, high = low / 1.25, high * 1.25
            return _Axis(low, high, length, _decades(low, high, marks), log=True)
        if high <= _LEAST:
            high = 1.0
        return _Axis(0.0, high * 1.04, length, _round(0.0, high * 1.04, marks)[0])

    @staticmethod
    def of_qualities(points: Sequence[Point], length: float, marks: int, bars: bool = True) -> _Axis:
        """bars: with room for the intervals, except those of single models: one with few grades would flatten all."""
        seen = [p.quality for p in points] or [0.5]
        ends = [e for p in points if p.kind != "single" for e in (p.low, p.high) if bars and e is not None]
        low, high = min([*seen, *ends]), max([*seen, *ends])
        # a difference that nobody can measure should not fill the picture
        room = max((high - low) * 0.07, (0.04 - (high - low)) / 2)
        low, high = max(low - room, min(0.0, low)), min(high + room, max(1.0, high))
        return _Axis(low, high, length, *_round(low, high, marks))

    def at(self, value: float) -> float:
        """Where a value stands, from the start of the axis."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low) * self.length
        return (value - self.low) / (self.high - self.low) * self.length

    def within(self, value: float | None) -> float | None:
        return None if value is None else min(max(value, self.low), self.high)


def _round(low: float, high: float, marks: int) -> tuple[tuple[float, ...], int]:
    """Round values in a range, about so many, and the digits that tell them apart."""
    rough = (high - low) / marks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    digits = max(-math.floor(math.log10(step)) + (1 if round(step / power, 6) == 2.5 else 0), 0)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(k * step, digits + 2) for k in range(first, last + 1)), max(digits, 2)


def _decades(low: float, high: float, marks: int) -> tuple[float, ...]:
    """Round values in a range of a logarithmic axis: 1, 2, 5 of each power of ten, or fewer where they are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: tuple[float, ...] = ()
    for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = tuple(v for k in powers for s in steps if low <= (v := float(f"{s * 10.0**k:.6g}")) <= high)
        if len(ticks) <= marks:
            break
    return ticks


def plot(
    points: Sequence[Point], width: int = 72, height: int = 16, ascii: bool = False, *, unit: str = ""
) -> list[str]:
    """Cost against expected quality as lines of text, none wider than `width` (32 at least): a letter for each point,
    explained below, and dots for the frontier. height: of the picture, without axis and legend."""
    if not points:
        return [_NOTHING[:width]]
    width, height = max(width, 32), max(height, 4)
    margin = 7
    columns = width - margin
    across = _Axis.of_costs(points, columns - 1, max(columns // 12, 2))
    down = _Axis.of_qualities(points, height - 1, max(height // 2, 2), bars=False)
    grid = [[" "] * columns for _ in range(height)]
    clean = _ascii if ascii else printable
    dot, corner, bar, tick, dash, foot = ".+|+-+" if ascii else "·└│┤─┬"

    def spot(p: Point) -> tuple[int, int]:
        return height - 1 - round(down.at(p.quality)), round(across.at(p.cost_usd))

    front = sorted((p for p in points if p.kind == "frontier"), key=lambda p: (p.cost_usd, p.quality))
    for a, b in zip(front, [*front[1:], front[-1]] if front else [], strict=True):
        (r0, c0), (r1, c1) = spot(a), spot(b)
        steps = max(abs(r1 - r0), abs(c1 - c0), 1)
        for k in range(steps + 1):
            grid[round(r0 + (r1 - r0) * k / steps)][round(c0 + (c1 - c0) * k / steps)] = dot
    lettered = _letters([p for p in points if p.kind != "frontier"], clean)
    shown: dict[tuple[int, int], str] = {}
    legend = []
    for letter, p in lettered:
        at = spot(p)
        shown.setdefault(at, letter)
        grid[at[0]][at[1]] = shown[at]
        legend.append((letter, p, "" if shown[at] == letter else f"at {shown[at]}"))

    rows = {height - 1 - round(down.at(t)): f"{t:.{down.digits}f}" for t in down.ticks}
    lines = [f"{QUALITY}, by cost{', USD ' + unit if unit else ''}{' (logarithmic)' if across.log else ''}"]
    lines += [
        f"{rows.get(r, ''):>{margin - 2}} {tick if r in rows else bar}{''.join(cells)}".rstrip()
        for r, cells in enumerate(grid)
    ]
    feet = {round(across.at(t)) for t in across.ticks}
    lines.append(" " * (margin - 1) + corner + "".join(foot if c in feet else dash for c in range(columns)))
    lines.append(_scale(across, margin, width))
    return [line[:width] for line in lines] + _legend(legend, bool(front), dot, width, clean)


def _scale(across: _Axis, margin: int, width: int) -> str:
    """The costs below a picture, as many as fit, each centred below its place."""
    line = [" "] * width
    free = 0
    for value in across.ticks:
        text = _dollars(value)
        start = min(max(margin + round(across.at(value)) - len(text) // 2, margin), width - len(text))
        if start >= free:
            line[start : start + len(text)] = text
            free = start + len(text) + 2
    return "".join(line).rstrip()


def _dollars(value: float) -> str:
    """A round price without the zeros that a computed one needs."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".") if value < 1000 else f"{value:,.0f}"
    return f"${text}"


def _letters(points: Sequence[Point], clean: Callable[[str], str]) -> list[tuple[str, Point]]:
    """A letter for each point: modes and today by their initials, single models a, b, c from the cheapest; a star when
    the letters are used up."""
    free = list(string.ascii_lowercase + string.digits + string.ascii_uppercase)
    out = []
    for p in sorted(points, key=_told):
        own = "" if p.kind == "single" else clean(p.name)[:1].upper()
        if own not in free:
            own = free[0 if p.kind == "single" else -1] if free else "*"
        if own in free:
            free.remove(own)
        out.append((own, p))
    return out


def _legend(
    entries: Sequence[tuple[str, Point, str]], front: bool, dot: str, width: int, clean: Callable[[str], str]
) -> list[str]:
    """What each letter is: name, cost, quality, interval; the name gives way where it is narrow, then the interval."""
    told = [(letter, clean(p.name), usd(p.cost_usd), _score(p.quality), _interval(p) or "", where)
            for letter, p, where in entries]  # fmt: skip
    costs = max((len(t[2]) for t in told), default=0)
    within = max((len(t[4]) for t in told), default=0)
    places = max((len(t[5]) for t in told), default=0)
    # the letter, two spaces between columns, the quality
    fixed = 3 + 2 + costs + 2 + 5
    rest = width - fixed
    if rest - 2 - places < 8:
        places = 0
    rest -= 2 + places if places else 0
    if rest - 2 - within < 12:
        within = 0
    rest = max(rest - (2 + within if within else 0), 4)
    names = min(max((cell_len(t[1]) for t in told), default=0), rest)
    lines = []
    for letter, name, cost, score, interval, where in told:
        if cell_len(name) > names:
            name = set_cell_size(name, names - 2) + ".."
        line = f"{letter}  {set_cell_size(name, names)}  {cost:>{costs}}  {score}"
        line += f"  {interval:<{within}}" if within else ""
        line += f"  {where}" if places else ""
        lines.append(set_cell_size(line, min(cell_len(line), width)).rstrip())
    if front:
        lines.append(f"{dot}  {KINDS['frontier']}"[:width])
    return lines


def _ascii(text: str) -> str:
    return "".join(c if c.isascii() else "?" for c in printable(text))
