"""Where the labels of a picture go, so that none covers a mark or another label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Align = Literal["left", "center", "right"]

# Mean advance of a letter of a sans-serif face, in parts of its size; digits and small letters are about this wide.
ADVANCE: Final = 0.56
BOLD: Final = 1.07
GAP: Final = 5.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The common area."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(across, 0.0) * max(down, 0.0)

    def within(self, other: Box) -> bool:
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.right <= other.right
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True)
class Wanted:
    """A label for the mark at (x, y) with a radius. must: drawn even where it covers something."""

    text: str
    x: float
    y: float
    radius: float
    size: float
    bold: bool = False
    must: bool = False


@dataclass(frozen=True)
class Placed:
    """The offset of a label's anchor from its mark; y is the middle of the text."""

    dx: float
    dy: float
    align: Align


def place(wanted: Sequence[Wanted], frame: Box, marks: Sequence[Box], lines: Sequence[Box]) -> list[Placed | None]:
    """A place for each label, the first ones first; null where there is none that is free.

    marks are never covered by a label that can be left out; lines are avoided where another place is free.
    """
    taken = list(marks)
    out: list[Placed | None] = []
    for label in wanted:
        best: tuple[float, Placed, Box] | None = None
        for rank, (spot, box) in enumerate(_spots(label)):
            hit = sum(box.overlap(other) for other in taken)
            outside = not box.within(frame)
            if (hit > 0 or outside) and not label.must:
                continue
            cost = hit * 10 + sum(box.overlap(line) for line in lines) + rank + (1e6 if outside else 0)
            if best is None or cost < best[0]:
                best = cost, spot, box
        if best is not None:
            taken.append(best[2])
        out.append(best[1] if best else None)
    return out


def _spots(label: Wanted) -> Iterator[tuple[Placed, Box]]:
    """Places around the mark, from the one that reads best."""
    wide = width(label.text, label.size, label.bold)
    half = label.size * 0.6
    side = label.radius + GAP
    up = label.radius + half + 2
    diagonal = label.radius * 0.5 + half
    for dx, dy in (
        (side, 0), (-side, 0), (0, -up), (0, up), (side, -diagonal), (side, diagonal), (-side, -diagonal),
        (-side, diagonal),
    ):  # fmt: skip
        align: Align = "left" if dx > 0 else "right" if dx < 0 else "center"
        left = label.x + dx - (0 if dx > 0 else wide if dx < 0 else wide / 2)
        middle = label.y + dy
        yield Placed(dx, dy, align), Box(left, middle - half, left + wide, middle + half)


def width(text: str, size: float, bold: bool = False) -> float:
    """About how many pixels a text takes."""
    return len(text) * size * ADVANCE * (BOLD if bold else 1)
