"""Draws with Pillow what ezdxf's drawing add-on tells: a small picture of a drawing, smooth because drawn twice as large."""

# ezdxf's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ezdxf.addons.drawing.backend import Backend, BkPath2d, BkPoints2d, ImageData
from ezdxf.addons.drawing.properties import BackendProperties
from ezdxf.math import Vec2
from PIL import Image, ImageChops, ImageDraw

WIDTH: Final = 480
FINE: Final = 2
#: Pixels of the large picture: that a curve may stray; of which a point is half as wide.
STRAY: Final = 1.0
DOT: Final = 3

Point = tuple[float, float]


class Picture(Backend):
    """A page of so many millimetres; what is drawn is given in pixels of the large picture, from the top left corner."""

    def __init__(self, width_mm: float, height_mm: float) -> None:
        super().__init__()
        self.width = WIDTH * FINE
        self.height = round(self.width * height_mm / width_mm)
        self._pixels_per_mm = self.width / width_mm
        self._image = Image.new("RGB", (self.width, self.height))
        self._draw = ImageDraw.Draw(self._image)

    def save(self, path: Path) -> None:
        """Write it as PNG."""
        small = self._image.reduce(FINE).quantize(64, Image.Quantize.FASTOCTREE)
        small.save(path, "PNG")

    def set_background(self, color: str) -> None:
        """Fill the page."""
        self._draw.rectangle((0, 0, self.width, self.height), fill=color[:7])

    def draw_point(self, pos: Vec2, properties: BackendProperties) -> None:
        """Draw a dot."""
        self._draw.ellipse((pos.x - DOT, pos.y - DOT, pos.x + DOT, pos.y + DOT), fill=properties.color[:7])

    def draw_line(self, start: Vec2, end: Vec2, properties: BackendProperties) -> None:
        """Draw a line."""
        self._line([(start.x, start.y), (end.x, end.y)], properties)

    def draw_path(self, path: BkPath2d, properties: BackendProperties) -> None:
        """Draw an open or closed line of any shape."""
        for part in path.to_path().sub_paths():
            self._line([(point.x, point.y) for point in part.flattening(STRAY)], properties)

    def draw_filled_polygon(self, points: BkPoints2d, properties: BackendProperties) -> None:
        """Fill an area."""
        self._fill([[(point.x, point.y) for point in points.vertices()]], properties)

    def draw_filled_paths(self, paths: Iterable[BkPath2d], properties: BackendProperties) -> None:
        """Fill areas; where they lie over each other an even number of times is a hole."""
        self._fill(
            [[(point.x, point.y) for point in path.flattening(STRAY)] for path in paths if len(path)], properties
        )

    def draw_image(self, image_data: ImageData, properties: BackendProperties) -> None:
        """Draw no pictures from elsewhere."""

    def clear(self) -> None:
        """Nothing was kept."""

    def _line(self, points: list[Point], properties: BackendProperties) -> None:
        if len(points) > 1:
            width = max(FINE, round(properties.lineweight * self.config.lineweight_scaling * self._pixels_per_mm))
            self._draw.line(points, fill=properties.color[:7], width=width, joint="curve" if width > FINE else None)

    def _fill(self, areas: list[list[Point]], properties: BackendProperties) -> None:
        areas = [area for area in areas if len(area) > 2]  # noqa: PLR2004 - less is no area
        if len(areas) == 1:
            self._draw.polygon(areas[0], fill=properties.color[:7])
        if len(areas) < 2:  # noqa: PLR2004 - done
            return
        xs, ys = zip(*(point for area in areas for point in area), strict=True)
        left, top = max(0, int(min(xs))), max(0, int(min(ys)))
        right, bottom = min(self.width, int(max(xs)) + 2), min(self.height, int(max(ys)) + 2)
        if right <= left or bottom <= top:
            return
        mask = Image.new("1", (right - left, bottom - top))
        for area in areas:
            one = Image.new("1", mask.size)
            ImageDraw.Draw(one).polygon([(x - left, y - top) for x, y in area], fill=1)
            mask = ImageChops.logical_xor(mask, one)
        self._image.paste(properties.color[:7], (left, top), mask)
