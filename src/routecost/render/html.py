"""A result as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from routecost.render import TEXT, Column, Document, Section, cell
from routecost.render.pictures import BESIDE, Figure, printable, specification, svg, theme

LONG = 40  # letters from which a text is a sentence, and is not squeezed into a narrow column

if TYPE_CHECKING:
    from jinja2 import Environment


def page(title: str, lines: Sequence[str], figures: Sequence[Figure], document: Document) -> str:
    """Sentences, figures with their data, then the document's sections and notes as tables.

    Everything is in the file: Vega, the charts, a still picture of each for where scripts do not run. Its policy lets
    no request leave and no script run but its own, so a name from a log is text whatever it holds.
    """
    from markupsafe import Markup

    environment = _environment()
    style, script = _file("page.css"), _file("page.js")
    vega = _vega() if figures else ""
    scripts = [vega, script] if figures else []

    def table(section: Section) -> Markup:
        return Markup(environment.get_template("table.html").render(section=_plain(section)))

    return environment.get_template("page.html").render(
        title=printable(title),
        lines=[printable(line.strip()) for line in lines],
        figures=[
            {
                "title": f.title,
                "about": f.about,
                "light": Markup(svg(f.charts[0])),
                "dark": Markup(svg(f.charts[0], dark=True)),
                "section": f.table,
            }
            for f in figures
        ],
        sections=document.sections,
        notes=[printable(note) for note in document.notes],
        table=table,
        policy=_policy([style], scripts),
        style=Markup(style),
        data=Markup(_json({"themes": {"light": theme(), "dark": theme(dark=True)}, "figures": _charts(figures)})),
        vega=Markup(vega),
        script=Markup(script),
    )


def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    templates = {name: _file(name) for name in ("page.html", "table.html")}
    return Environment(loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=False)


def _file(name: str) -> str:
    return files("routecost.render").joinpath(name).read_text(encoding="utf-8")


def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as a script."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # the only thing that could end a script early
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _charts(figures: Sequence[Figure]) -> list[list[dict[str, Any]]]:
    return [[{"width": _width(spec), "spec": spec} for spec in _specs(f)] for f in figures]


def _specs(figure: Figure) -> list[dict[str, Any]]:
    return [specification(chart, dark=None) for chart in figure.charts]


def _width(spec: Mapping[str, Any]) -> int:
    """What a chart takes with its axis."""
    return int(spec["width"]) + BESIDE


def _json(data: object) -> str:
    """JSON that no HTML parser sees the end of a script in."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    allowed = " ".join(map(_hash, scripts)) or "'none'"
    shown = " ".join(map(_hash, styles))
    return f"default-src 'none'; script-src {allowed}; style-src {shown}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _plain(section: Section) -> dict[str, Any]:
    """A section with its values as text."""
    return {
        "columns": [{"header": printable(c.header), "number": c.kind not in TEXT} for c in section.columns],
        "rows": [_values(section.columns, row) for row in section.rows],
        "total": _values(section.columns, section.total, blank=True) if section.total else None,
        "notes": [printable(note) for note in section.notes],
    }


def _values(columns: Sequence[Column], row: Mapping[str, Any], blank: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "text": text,
            "number": c.kind not in TEXT,
            "kept": c.kind == "span",
            "long": len(text) > LONG,
        }
        for c in columns
        for text in ["" if blank and c.key not in row else printable(cell(c, row.get(c.key)))]
    ]
