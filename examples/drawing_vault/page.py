"""The report: one HTML page without scripts, with a thumbnail a drawing, the failures first.

What stands in drawings comes from strangers: all text is escaped, drawings are shown as images only, and the page forbids
itself everything else.
"""

from __future__ import annotations

import datetime as dt
import fcntl
from html import escape
from typing import Any, Final
from urllib.parse import quote

from examples.drawing_vault.entries import Entry, entries, whole
from examples.drawing_vault.vault import Folders

HEADINGS: Final = {
    "failed": ("Failed", "A person has to look at these."),
    "skipped": ("Skipped", "Nothing was published, for the reason given."),
    "released": ("Released", ""),
}


def write(folders: Folders, day: str | None = None) -> int:
    """Write the page from all entries; returns how many drawings are on it. ``day``: keep a copy of that name."""
    folders.home.mkdir(parents=True, exist_ok=True)
    with (folders.home / ".page.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two that write, the later one has read all that the other has
        found = entries(folders)
        text = render(found, dt.datetime.now(dt.UTC))
        for path in [folders.page, *([folders.home / f"report-{day}.html"] if day else [])]:
            with whole(path) as part:
                part.write_text(text, "utf-8")
    return len(found)


def render(found: list[Entry], now: dt.datetime) -> str:
    """Return the page."""
    by_outcome = {name: [entry for entry in found if entry.outcome == name] for name in HEADINGS}
    counts = "".join(
        f'<a class="count {name}" href="#{name}"><b>{len(some)}</b> {escape(HEADINGS[name][0].lower())}</a>'
        for name, some in by_outcome.items()
    )
    sections = "".join(_section(name, some) for name, some in by_outcome.items() if some)
    views = "".join(_view(entry) for entry in by_outcome["released"])
    nothing = "" if found else '<p class="none">No drawing has come yet.</p>'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Drawing vault</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">\n"
        f"<style>{STYLE}</style></head>\n<body><header><div><h1>Drawing vault</h1>"
        f'<p>{len(found)} drawings, <time datetime="{now:%Y-%m-%dT%H:%M:%SZ}">{now:%Y-%m-%d %H:%M:%S} UTC</time></p></div>'
        f"<nav>{counts}</nav></header>\n<main>{nothing}{sections}</main>\n{views}</body></html>\n"
    )


def _section(name: str, some: list[Entry]) -> str:
    title, more = HEADINGS[name]
    cards = "\n".join(_card(entry) for entry in some)
    told = f" <small>{escape(more)}</small>" if more else ""
    return f'<section id="{name}"><h2>{escape(title)}{told}</h2>\n<div class="cards">\n{cards}\n</div></section>\n'


def _card(entry: Entry) -> str:
    name = escape(entry.name)
    if entry.outcome == "released":
        src = quote(f"releases/{entry.release}/drawing.png")
        image = f'<img src="{src}" alt="{name}" width="480" height="360" loading="lazy">'
        shown = f'<a class="picture" href="#view.{escape(entry.release)}">{image}</a>'
    else:
        shown = f'<div class="picture none" aria-hidden="true">{"!" if entry.outcome == "failed" else "&ndash;"}</div>'
    reason = f'<p class="reason">{escape(entry.reason)}</p>' if entry.reason else ""
    return (
        f'<article class="card {entry.outcome}" id="{escape(entry.release)}">{shown}<div class="text">'
        f'<h3 title="{escape(entry.path)}">{name}</h3>{reason}{_facts(entry)}</div></article>'
    )


def _facts(entry: Entry) -> str:
    facts: dict[str, Any] = entry.facts
    told = [_size(entry.size)]
    if facts:
        told[:0] = [facts["version"]]
        told += [
            _count(facts["entities"], "entity", "entities"),
            _count(facts["layer_count"], "layer"),
            _count(facts["block_count"], "block"),
        ]
        if facts["extents"]:
            (left, bottom), (right, top) = facts["extents"]
            told.append(f"{right - left:.5g} x {top - bottom:.5g}")
    if entry.repaired:
        told.append(f"{entry.repaired} repaired")
    lines = [f'<p class="facts">{" ".join(f"<span>{escape(each)}</span>" for each in told)}</p>']
    if facts.get("texts"):
        lines.append(f'<p class="quote">{escape(" / ".join(facts["texts"]))}</p>')
    if facts:
        lines.append(f'<a class="more" href="{quote(f"releases/{entry.release}/index.json")}">index</a>')
    if entry.attempts > 1:
        lines.append(f'<span class="attempts">{entry.attempts} attempts</span>')
    return "".join(lines)


def _view(entry: Entry) -> str:
    """The drawing as large as the window, once its thumbnail is clicked; the SVG is an image, so nothing in it can run."""
    src = quote(f"releases/{entry.release}/drawing.svg")
    return (
        f'<a class="view" id="view.{escape(entry.release)}" href="#{escape(entry.release)}" title="back">'
        f'<img src="{src}" alt="{escape(entry.name)}" loading="lazy"></a>\n'
    )


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _size(size: int) -> str:
    return f"{size:,} bytes" if size < 1024 else f"{size / 1024:,.0f} KiB"  # noqa: PLR2004 - as it is said


STYLE: Final = """
:root { --ink: #1d2733; --soft: #5d6b7a; --line: #d9e0e7; --paper: #f4f6f8; --bad: #b3261e; --off: #7d6215; --good: #1f7a4d; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { display: flex; flex-wrap: wrap; gap: 12px 32px; align-items: center; justify-content: space-between;
  padding: 20px 32px; background: #fff; border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 22px; }
header p { margin: 2px 0 0; color: var(--soft); }
nav { display: flex; gap: 10px; flex-wrap: wrap; }
.count { padding: 6px 14px; border: 1px solid var(--line); border-radius: 8px; color: var(--soft); text-decoration: none; }
.count b { font-size: 18px; margin-right: 3px; }
.count.failed b, .failed .reason { color: var(--bad); }
.count.skipped b, .skipped .reason { color: var(--off); }
.count.released b { color: var(--good); }
main { padding: 4px 32px 48px; max-width: 1600px; margin: auto; }
h2 { margin: 26px 0 12px; font-size: 18px; }
h2 small { margin-left: 8px; color: var(--soft); font-weight: normal; font-size: 14px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); gap: 16px; }
#failed .cards, #skipped .cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); }
.card { display: flex; flex-direction: column; min-width: 0; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; scroll-margin: 16px; }
.card.failed, .card.skipped { flex-direction: row; }
.card.failed { border-left: 4px solid var(--bad); }
.card.skipped { border-left: 4px solid #d9b64c; }
.card:target { outline: 2px solid var(--soft); }
.picture { display: block; background: #212830; aspect-ratio: 4 / 3; }
.picture img { display: block; width: 100%; height: 100%; }
.picture.none { display: grid; place-items: center; flex: 0 0 54px; aspect-ratio: auto; background: #eef1f4; color: var(--soft);
  font-size: 24px; }
.failed .picture.none { color: var(--bad); font-weight: bold; }
.text { display: flex; flex-direction: column; flex: 1; gap: 4px; min-width: 0;
  padding: 10px 14px 12px; overflow-wrap: anywhere; }
.text p { margin: 0; }
h3 { margin: 0; font-size: 15px; }
.facts { display: flex; flex-wrap: wrap; gap: 1px 12px; color: var(--soft); font-size: 13px; }
.facts span { white-space: nowrap; }
.quote { color: var(--soft); font-size: 13px; font-style: italic;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.more, .attempts { margin-top: auto; align-self: flex-start; font-size: 13px; color: var(--soft); }
.attempts { padding: 0 8px; border: 1px solid var(--line); border-radius: 9px; }
.view { display: none; position: fixed; inset: 0; padding: 24px; background: #10161cee; }
.view:target { display: block; }
.view img { width: 100%; height: 100%; object-fit: contain; }
.none { color: var(--soft); }
"""
