"""HTML pages that open from the disk: one skeleton, one style, text escaped, cards of pictures."""

from __future__ import annotations

import base64
import html
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from imgclust.catalog.details import Facts
from imgclust.wording import path_text

# They change the order of the text around them, or end a line.
_MISLEADING = {"Cc", "Cs", "Zl", "Zp"}
_TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KINDS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"<?xml", "image/svg+xml"),
    (b"<svg", "image/svg+xml"),
)

STYLE = """
:root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --ink: #1c1d1f; --soft: #62666b;
  --line: #dfdfda; --empty: #ececea; --mark: #9a4b00; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --page: #17181a; --card: #212326; --ink: #ecedee;
  --soft: #a3a8ae; --line: #36393d; --empty: #2c2f33; --mark: #f0a860; --link: #8ab8f0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1180px; padding: 28px 20px 48px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0 0 4px; font-size: 28px; line-height: 1.2; }
h2 { margin: 36px 0 12px; font-size: 20px; }
h3 { margin: 0; font-size: 16px; }
p { margin: 0 0 10px; }
a { color: var(--link); }
.soft { color: var(--soft); }
.mark { color: var(--mark); font-weight: 600; }
.box { margin: 0 0 14px; padding: 14px 16px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 14px; margin-bottom: 10px; }
.dot { display: inline-block; width: 11px; height: 11px; margin-right: 8px; border-radius: 50%; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(108px, 1fr)); gap: 10px; }
figure { margin: 0; min-width: 0; }
figure a { color: inherit; text-decoration: none; }
figure img, figure .none { display: block; width: 100%; aspect-ratio: 1; border-radius: 6px;
  background: var(--empty); object-fit: contain; }
figcaption { margin-top: 3px; color: var(--soft); font-size: 12px; line-height: 1.35;
  overflow: hidden; display: -webkit-box; -webkit-line-clamp: 4; -webkit-box-orient: vertical; }
.facts { display: block; font-size: 11px; font-variant-numeric: tabular-nums; }
figcaption .mark { font-weight: 600; }
.facts > span { white-space: nowrap; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 10px; }
.picture { display: block; width: 100%; height: auto; margin-bottom: 8px; border-radius: 6px;
  background: #fff; }
.chart { max-width: 820px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 560px) {
  body { padding: 18px 12px 32px; }
  h1 { font-size: 23px; }
  .box { padding: 12px; }
  .cards { grid-template-columns: repeat(3, 1fr); gap: 8px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
  td, th { padding-right: 8px; }
}
@page { margin: 14mm; }
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444;
    --line: #bbb; --empty: #eee; --mark: #7a3b00; --link: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .cards { grid-template-columns: repeat(9, 1fr); gap: 6px; }
  figcaption { font-size: 7pt; }
  .cluster, figure, tr { break-inside: avoid; }
  h1, h2, h3, .head { break-after: avoid; }
  .picture { max-height: 200mm; object-fit: contain; object-position: left; }
  .chart { max-width: 150mm; break-inside: avoid; }
}
"""


# Shows a picture of a page in full, with those before and after it; without it, a click leads to
# the picture. It needs no network, and reads nothing but the page.
VIEWER_STYLE = """
dialog { position: fixed; inset: 0; width: 100%; height: 100%; max-width: none; max-height: none;
  margin: 0; border: 0; padding: 12px; overflow: hidden;
  background: var(--page); color: var(--ink); }
dialog[open] { display: grid; gap: 8px;
  grid-template: minmax(0, 1fr) auto / 44px minmax(0, 1fr) 44px; }
dialog img { grid-area: 1 / 2; width: 100%; height: 100%; min-height: 0; object-fit: scale-down; }
dialog p { grid-area: 2 / 2; margin: 0; text-align: center; }
dialog button { border: 0; border-radius: 8px; background: var(--card); color: inherit;
  font-size: 22px; cursor: pointer; }
dialog button[value=previous] { grid-area: 1 / 1; }
dialog button[value=next] { grid-area: 1 / 3; }
dialog button[value=close] { grid-area: 2 / 3; }
"""
VIEWER = """<script>
"use strict";
(() => {
  const figures = [...document.querySelectorAll("figure[id]")];
  const dialog = document.createElement("dialog"), image = document.createElement("img");
  const words = document.createElement("p");
  const button = (value, text, label, act) => {
    const made = Object.assign(document.createElement("button"), { value, onclick: act });
    made.textContent = text;
    made.setAttribute("aria-label", label);
    return made;
  };
  let at = 0;
  const show = (to) => {
    if (to < 0 || to >= figures.length) return;
    at = to;
    const figure = figures[at], link = figure.querySelector("a").cloneNode();
    const below = figure.querySelector("figcaption").cloneNode(true);
    image.src = link.href;
    image.alt = below.textContent;
    link.textContent = `${at + 1} of ${figures.length}`;
    words.replaceChildren(...below.childNodes, " ", link);
    if (!dialog.open) dialog.showModal();
    history.replaceState(null, "", `#${figure.id}`);
  };
  dialog.append(image, words,
    button("previous", "\\u2039", "previous", () => show(at - 1)),
    button("next", "\\u203a", "next", () => show(at + 1)),
    button("close", "\\u00d7", "close", () => dialog.close()));
  dialog.onclose = () => {
    image.removeAttribute("src");
    figures[at].scrollIntoView({ block: "center" });
  };
  document.body.append(dialog);
  document.onkeydown = (event) => {
    if (!dialog.open || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  };
  figures.forEach((figure, number) => {
    figure.querySelector("a").addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      show(number);
    });
  });
  const wanted = figures.findIndex((figure) => `#${figure.id}` === location.hash);
  if (wanted >= 0) show(wanted);
})();
</script>
"""


def shown(text: str | bytes | os.PathLike[str]) -> str:
    """Text or a path as a person can read it: U+FFFD for what is not UTF-8 or not a character."""
    decoded = text if isinstance(text, str) else path_text(text)
    return "".join(
        "\ufffd" if one in _TURNING or unicodedata.category(one) in _MISLEADING else one
        for one in decoded
    )


def escaped(text: str | bytes | os.PathLike[str]) -> str:
    """Text or a path for HTML, as content or as the value of an attribute; see `shown`."""
    return html.escape(shown(text))


def data_uri(picture: bytes) -> str:
    """An encoded picture (PNG, JPEG, GIF, SVG, else WebP) as the address of itself."""
    kind = next((kind for start, kind in _KINDS if picture.startswith(start)), "image/webp")
    return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def page(
    title: str, body: Iterable[str], *, self_contained: bool = False, style: str = ""
) -> Iterator[str]:
    """A whole page, piece by piece.

    Parameters
    ----------
    title
        Plain text; the body brings its own heading.
    body
        Pieces of HTML.
    self_contained
        Tell the browser to load nothing but what is in the page.
    style
        CSS after that of all pages.
    """
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    if self_contained:
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="generator" content="imgclust">\n'
    yield f"<title>{escaped(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
    yield from body
    yield "</body>\n</html>\n"


def card(
    picture: str | None,
    caption: str | bytes,
    *,
    facts: Sequence[str] = (),
    marks: Sequence[str] = (),
    title: str | bytes = "",
    href: str | None = None,
    lazy: bool = False,
    image: int | None = None,
    original: str | None = None,
) -> str:
    """A whole picture with a caption below it.

    Parameters
    ----------
    picture
        Its address: of another file, or from `data_uri`; None draws an empty frame.
    caption
        Plain text, cut by the page after two lines.
    facts, marks
        Plain text below the caption: an id, a date, numbers; and what is wrong with the image.
    title
        Plain text for whoever stays on the card, as a path.
    href
        Where the card leads; with `image`, the picture that the page shows in full.
    lazy
        Load the picture when it comes into view: for pages of hundreds.
    image
        Its id: what `#i17` leads to, and what can be shown in full (see `VIEWER`).
    original
        Address of the file itself, where `href` is a preview of it.
    """
    words = escaped(caption)
    when = ' loading="lazy"' if lazy else ""
    if picture is None:
        inner = '<span class="none"></span>'
    else:
        inner = f'<img src="{html.escape(picture)}" alt="{words}"{when}>'
    below = words
    if facts or marks:
        said = [f'<b class="mark">{escaped(one)}</b>' for one in marks]
        said += [f"<span>{escaped(one)}</span>" for one in facts]
        below += f'<span class="facts">{" · ".join(said)}</span>'
    if href is not None and original is not None:
        inner = f'<a href="{html.escape(href)}">{inner}</a>'
        below = f'<a href="{html.escape(original)}">{below}</a>'
        inner += f"<figcaption>{below}</figcaption>"
    else:
        inner += f"<figcaption>{below}</figcaption>"
        if href is not None:
            inner = f'<a href="{html.escape(href)}">{inner}</a>'
    named = "" if image is None else f' id="i{image}"'
    over = f' title="{escaped(title)}"' if title else ""
    return f"<figure{named}{over}>{inner}</figure>\n"


def facts_of(image: int, facts: Facts | None) -> list[str]:
    """The id and the date of an image, as the facts of a card."""
    if facts is None or facts.taken is None:
        return [f"id {image}"]
    moment = facts.taken[:16].replace("T", " ")
    return [f"id {image}", moment if facts.taken_from == "exif" else f"{moment} (file)"]


def cards(inner: Iterable[str]) -> Iterator[str]:
    """Cards side by side, as many in a row as there is room."""
    yield '<div class="cards">\n'
    yield from inner
    yield "</div>\n"


def picture(address: str, words: str) -> str:
    """A picture over the whole width; `words` say what it shows."""
    return f'<img class="picture" src="{html.escape(address)}" alt="{escaped(words)}">\n'


def facts(rows: Mapping[str, str]) -> str:
    """Names and values (HTML) below each other."""
    pairs = (f"<dt>{escaped(name)}</dt><dd>{value}</dd>\n" for name, value in rows.items())
    return f"<dl>\n{''.join(pairs)}</dl>\n"


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str | Sequence[str]]], *, numbers: int = 0
) -> str:
    """A table of plain text; a cell may have several lines; the last `numbers` columns are numbers.

    Every row has a cell for each of the headings.
    """
    first = len(headings) - numbers

    def line(tag: str, cells: Sequence[str | Sequence[str]]) -> str:
        found = ""
        for column, cell in enumerate(cells):
            kind = ' class="number"' if column >= first else ""
            lines = [cell] if isinstance(cell, str) else cell
            found += f"<{tag}{kind}>{'<br>'.join(map(escaped, lines))}</{tag}>"
        return f"<tr>{found}</tr>\n"

    body = "".join(line("td", row) for row in rows)
    return f"<table>\n<thead>{line('th', headings)}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"
