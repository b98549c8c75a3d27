"""Writes the tables of docs/api.md from the code; `--check` only compares.

What stands above the mark in the document is written by hand and kept.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "api.md"
MARK = "<!-- made by scripts/lint --write from here on -->\n"


def tables() -> str:
    """The part of docs/api.md that is made."""
    from imgclust import collection, errors
    from imgclust.collection import Collection

    public = [getattr(collection, name) for name in vars(collection)["__all__"]]
    methods = [(name, one) for name, one in vars(Collection).items() if name[0] != "_"]
    parts = ["## Collection", "", *_calls(methods)]
    functions = [one for one in public if inspect.isfunction(one)]
    parts += ["", "## Functions", "", "In `imgclust.collection`:", ""]
    parts += _calls((one.__name__, one) for one in functions)
    parts += ["", "## Results", "", "All frozen; in `imgclust.collection`."]
    for result in public:
        if inspect.isclass(result) and dataclasses.is_dataclass(result):
            parts += ["", *_fields(result)]
    parts += ["", "## Errors", "", "In `imgclust.errors`; all are an `ImgclustError`.", ""]
    parts += ["| error | code | exit code | when |", "|---|---|---|---|"]
    parts += [
        f"| `{name}` | `{error.code}` | {error.exit_code} | {_first(error)} |"
        for name, error in vars(errors).items()
        if inspect.isclass(error) and issubclass(error, errors.ImgclustError)
    ]
    return "\n".join(parts) + "\n"


def document() -> str:
    """The text of docs/api.md."""
    before, mark, _ = DOCUMENT.read_text("utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"docs/api.md has lost its mark: {MARK}")
    return f"{before}{mark}\n{tables()}"


def _calls(functions: Iterable[tuple[str, Any]]) -> list[str]:
    rows = ["| call | does |", "|---|---|"]
    for name, function in functions:
        if isinstance(function, property):
            returned = function.fget.__annotations__["return"]
            rows.append(f"| `{name}` -> `{_plain(returned)}` | {_first(function)} |")
            continue
        function = getattr(function, "__func__", function)
        taken, returned = _signature(function)
        result = "" if returned == "None" else f" -> `{_plain(returned)}`"
        rows.append(f"| `{name}({taken})`{result} | {_first(function)} |")
    return rows


def _signature(function: Callable[..., Any]) -> tuple[str, str]:
    """Parameters without their types, and the type of what is returned."""
    signature = inspect.signature(function)
    own = [one for name, one in signature.parameters.items() if name not in {"self", "cls"}]
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in own]
    # What stands for silence is a function; its name says nothing here.
    bare = [one.replace(default=None) if inspect.isfunction(one.default) else one for one in bare]
    returned = str(signature.return_annotation).replace("Self", "Collection")
    return str(inspect.Signature(bare))[1:-1], returned


def _fields(result: type) -> list[str]:
    rows = [f"### {result.__name__}", "", _paragraphs(result), "", "| field | type |", "|---|---|"]
    rows += [
        f"| `{field.name}` | `{_plain(str(field.type))}` |" for field in dataclasses.fields(result)
    ]
    rows += [
        f"| `{name}` (derived) | `{_plain(one.fget.__annotations__['return'])}` |"
        for name, one in inspect.getmembers(result, lambda one: isinstance(one, property))
    ]
    return rows


def _plain(annotation: str) -> str:
    """A type without module names, fit for a table."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", annotation).replace("|", "or")


def _first(what: object) -> str:
    """The first sentence of a docstring."""
    return " ".join((inspect.getdoc(what) or "").split("\n\n")[0].split()).replace("|", "\\|")


def _paragraphs(result: type) -> str:
    """The docstring of a class, up to its numpy sections."""
    text = inspect.getdoc(result) or ""
    return re.split(r"\n\n\w+\n-+\n", text)[0]


def main() -> None:
    """Write the document, or compare it with what stands there."""
    if set(sys.argv[1:]) - {"--check"}:
        raise SystemExit((__doc__ or "").strip())
    text = document()
    if "--check" in sys.argv:
        if DOCUMENT.read_text("utf-8") != text:
            raise SystemExit("docs/api.md is not current; run scripts/lint --write")
        return
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
