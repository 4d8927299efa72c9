"""Sample drawings for who has none at hand: good ones, a broken one, an empty one, and one that means mischief."""

# ezdxf's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ezdxf.document import Drawing
from ezdxf.enums import TextEntityAlignment
from ezdxf.filemanagement import new


def make(folder: Path) -> None:
    """Write them into a new folder, which appears when all are written."""
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for name, draw in SAMPLES.items():
        document = new("R2010", setup=True)
        draw(document)
        document.saveas(part / name)
    broken, empty = part / "broken.dxf", part / "empty.dxf"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    empty.write_bytes(b"")
    for moment, name in enumerate(SAMPLES):  # one after the other, as people save them
        os.utime(part / name, (FIRST_SAVED + moment, FIRST_SAVED + moment))
    part.rename(folder)


def _flange(document: Drawing) -> None:
    model = document.modelspace()
    document.layers.add("CENTER", color=1, linetype="CENTER")
    for radius in (20, 45, 60):
        model.add_circle((0, 0), radius)
    model.add_circle((0, 0), 52, dxfattribs={"layer": "CENTER"})
    for bolt in range(8):
        angle = math.tau * bolt / 8
        model.add_circle((52 * math.cos(angle), 52 * math.sin(angle)), 4)
    model.add_line((-70, 0), (70, 0), dxfattribs={"layer": "CENTER"})
    model.add_line((0, -70), (0, 70), dxfattribs={"layer": "CENTER"})
    _title(document, "Flange DN 80", -70, -90)


def _bracket(document: Drawing) -> None:
    model = document.modelspace()
    document.layers.add("HATCH", color=8)
    outline = [(0, 0), (120, 0), (120, 20), (20, 20), (20, 90), (0, 90)]
    model.add_lwpolyline(outline, close=True)
    hatch = model.add_hatch(dxfattribs={"layer": "HATCH"})
    hatch.set_pattern_fill("ANSI31", scale=1.5)
    hatch.paths.add_polyline_path(outline, is_closed=True)
    model.add_linear_dim(base=(0, -14), p1=(0, 0), p2=(120, 0)).render()
    model.add_linear_dim(base=(-14, 0), p1=(0, 0), p2=(0, 90), angle=90).render()
    _title(document, "Bracket, revision C", 0, -40)


def _plan(document: Drawing) -> None:
    model = document.modelspace()
    document.layers.add("WALLS", color=7)
    document.layers.add("DOORS", color=3)
    door = document.blocks.new("DOOR")
    door.add_line((0, 0), (0, 9))
    door.add_arc((0, 0), 9, 0, 90)
    for x, y, width, height in ((0, 0, 60, 40), (60, 0, 40, 40), (0, 40, 100, 30)):
        model.add_lwpolyline(
            [(x, y), (x + width, y), (x + width, y + height), (x, y + height)],
            close=True,
            dxfattribs={"layer": "WALLS"},
        )
    for x, y, turn in ((20, 0, 0), (70, 40, 0), (60, 25, 90), (30, 40, 180)):
        model.add_blockref("DOOR", (x, y), dxfattribs={"rotation": turn, "layer": "DOORS"})
    for text, x, y in (("Workshop", 30, 20), ("Office", 80, 20), ("Store", 50, 55)):
        model.add_text(text, height=4).set_placement((x, y), align=TextEntityAlignment.MIDDLE_CENTER)
    _title(document, "Ground floor", 0, -12)


def _gear(document: Drawing) -> None:
    model = document.modelspace()
    points: list[tuple[float, float]] = []
    for tooth in range(24):
        for step, radius in ((0, 40), (0.25, 46), (0.5, 46), (0.75, 40)):
            angle = math.tau * (tooth + step) / 24
            points.append((radius * math.cos(angle), radius * math.sin(angle)))
    model.add_lwpolyline(points, close=True)
    model.add_circle((0, 0), 10)
    for spoke in range(6):
        angle = math.tau * spoke / 6
        model.add_circle((25 * math.cos(angle), 25 * math.sin(angle)), 7)
    _title(document, "Gear, 24 teeth", -45, -62)


def _spring(document: Drawing) -> None:
    points = [(t / 6, 12 * math.sin(t / 3)) for t in range(240)]
    document.modelspace().add_spline(points)
    _title(document, "Spring", 0, -26)


def _stair(document: Drawing) -> None:
    points = [(x + dx, x) for x in range(0, 100, 10) for dx in (0, 10)]
    document.modelspace().add_lwpolyline(points)
    document.modelspace().add_line((0, 0), (100, 0))
    document.modelspace().add_line((100, 0), (100, 90))
    _title(document, "Stair", 0, -16)


def _mischief(document: Drawing) -> None:
    document.modelspace().add_lwpolyline([(0, 0), (100, 0), (50, 70)], close=True)
    _title(document, "<script>alert('from a drawing')</script>", 0, -14)


def _hidden(document: Drawing) -> None:
    document.layers.add("DRAFT").off()
    for x in range(0, 50, 10):
        document.modelspace().add_line((x, 0), (x, 40), dxfattribs={"layer": "DRAFT"})


def _nothing(_: Drawing) -> None:
    """Draw nothing: it is blank, or what was drawn is lost."""


def _title(document: Drawing, text: str, x: float, y: float) -> None:
    document.modelspace().add_text(text, height=6).set_placement((x, y))


#: 2026-01-05 09:00 UTC, in epoch seconds.
FIRST_SAVED: Final = 1_767_603_600
#: The last of them is the one that overtakes.
SAMPLES: Final[dict[str, Callable[[Drawing], None]]] = {
    "untouched.dxf": _nothing,
    "bracket.dxf": _bracket,
    "broken.dxf": _plan,
    "empty.dxf": _nothing,
    "flange.dxf": _flange,
    "gear.dxf": _gear,
    "ground-floor.dxf": _plan,
    "hidden.dxf": _hidden,
    "mischief & co.dxf": _mischief,
    "spring.dxf": _spring,
    "stair.dxf": _stair,
}
