"""What is done with a drawing: read and repair it, draw it, index it. Nothing here knows of Seatline.

Drawings come from anywhere. So nothing that a drawing names outside itself is opened (images, underlays), and nothing in it
gets into a picture but lines and fillings. What a pathological one costs in time and memory is limited from outside, by
the step's time-out and its process.
"""

# ezdxf's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from examples.drawing_vault.picture import Picture
from ezdxf import bbox, recover
from ezdxf.addons.drawing import layout
from ezdxf.addons.drawing.config import Configuration, ImagePolicy
from ezdxf.addons.drawing.frontend import Frontend
from ezdxf.addons.drawing.properties import RenderContext
from ezdxf.addons.drawing.svg import SVGBackend
from ezdxf.audit import Auditor
from ezdxf.document import Drawing
from ezdxf.entities.dxfentity import DXFEntity
from ezdxf.entities.mtext import MText
from ezdxf.entities.text import Text
from ezdxf.filemanagement import readfile
from ezdxf.layouts.layout import Layout
from ezdxf.math import Matrix44

BINARY: Final = b"AutoCAD Binary DXF"
PAGE: Final = layout.Page(160, 120, layout.Units.mm, margins=layout.Margins.all(5))
SPACE: Final = 100_000
LOOKS: Final = Configuration(image_policy=ImagePolicy.RECT, lineweight_scaling=0.7, hatching_timeout=10)

#: The last tag of a drawing: group code 0, then EOF; in a binary one the code is one or two zero bytes.
_END: Final = re.compile(rb"(?:\n[ \t]*0[ \t]*\r?\n[ \t]*|\0)EOF")

NAMES_MOST: Final = 500
TEXTS_MOST: Final = 200
TEXT_MOST: Final = 300

logging.getLogger("ezdxf").setLevel(logging.ERROR)  # what it repairs is counted, not told line by line


class Unsound(Exception):
    """The drawing has errors that cannot be repaired."""


class Empty(Exception):
    """The drawing is sound, and there is nothing in it."""


class Undrawable(Exception):
    """The drawing is sound, and nothing of what is in it can be seen."""


def read(path: Path) -> tuple[Drawing, Auditor]:
    """Read a drawing and repair what can be repaired.

    Raises:
        ezdxf.DXFError, and what else its reader may meet: it is none, or too broken.
        Unsound: it can be read, but not be trusted.

    """
    content = path.read_bytes()
    if not _END.search(content):
        raise Unsound("it has no end (EOF): it was cut off, or is no drawing")  # what is left of one might look sound
    if content.startswith(BINARY):  # recover is for text
        document = readfile(path)
        auditor = document.audit()
    else:
        document, auditor = recover.readfile(path)
    if auditor.has_errors:
        first = auditor.errors[0].message
        raise Unsound(f"{len(auditor.errors)} errors that cannot be repaired; the first: {first}")
    return document, auditor


def draw(document: Drawing, svg: Path, png: Path) -> str:
    """Write a drawing as SVG and as a small PNG; returns which of its layouts was drawn: the first that shows anything.

    Raises:
        Empty, Undrawable: none does.

    """
    for space in _layouts(document):
        backend = SVGBackend()
        Frontend(RenderContext(document), backend, config=LOOKS).draw_layout(space)
        if not backend.player().bbox().has_data:
            continue
        svg.write_text(backend.get_string(PAGE, settings=layout.Settings(output_coordinate_space=SPACE)), "utf-8")
        player = backend.player()  # what was recorded lies on the page by now
        picture = Picture(PAGE.width_in_mm, PAGE.height_in_mm)
        player.transform(Matrix44.scale(picture.width / SPACE))
        player.replay(picture)
        picture.save(png)
        return space.name
    kinds = Counter(entity.dxftype() for space in _layouts(document) for entity in space)
    kinds.pop("VIEWPORT", None)  # a window with nothing behind it
    if not kinds:
        raise Empty("there is nothing in it")
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())[:5])
    raise Undrawable(f"nothing of it shows: {told}")


def index(document: Drawing) -> dict[str, Any]:
    """Return layers, blocks, text and extents of a drawing, as plain data of limited size."""
    model = document.modelspace()
    extents = bbox.extents(model, fast=True)
    kinds = Counter(entity.dxftype() for entity in model)
    on_layer = Counter(str(entity.dxf.get("layer", "0")) for entity in model)
    layers = sorted(layer.dxf.name for layer in document.layers)
    blocks = sorted(block.name for block in document.blocks if not block.name.startswith(("*", "$")))
    texts = [text for text in itertools.islice(_texts(document), TEXTS_MOST) if text]
    return {
        "version": document.acad_release,
        "units": document.units,
        "entities": sum(kinds.values()),
        "kinds": dict(sorted(kinds.items())),
        "layers": {name: on_layer[name] for name in layers[:NAMES_MOST]},
        "layer_count": len(layers),
        "blocks": blocks[:NAMES_MOST],
        "block_count": len(blocks),
        "texts": texts,
        "extents": [list(extents.extmin)[:2], list(extents.extmax)[:2]] if extents.has_data else None,
    }


def _layouts(document: Drawing) -> Iterator[Layout]:
    yield document.modelspace()
    for name in document.layout_names_in_taborder():
        if name != "Model":
            yield document.layout(name)


def _texts(document: Drawing) -> Iterator[str]:
    for space in _layouts(document):
        for entity in space:
            text = _text(entity)
            if text is not None:
                yield " ".join(text.split())[:TEXT_MOST]


def _text(entity: DXFEntity) -> str | None:
    if isinstance(entity, MText):
        return str(entity.plain_text())
    if isinstance(entity, Text):
        return entity.plain_text()
    return None
