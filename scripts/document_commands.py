"""Writes docs/commands.md from the help of every command; `--check` only compares.

The text is what `imgclust COMMAND --help` prints at 80 columns.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
DOCUMENT = CHECKOUT / "docs" / "commands.md"


def names() -> list[tuple[str, ...]]:
    """Every command and sub-command, in the order of the help."""
    import typer

    from imgclust.cli import app

    found: list[tuple[str, ...]] = []
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    for name, command in commands.items():
        found.append((name,))
        found.extend((name, below) for below in getattr(command, "commands", {}))
    return found


def help_of(name: tuple[str, ...]) -> str:
    """What `imgclust NAME --help` prints."""
    from typer.testing import CliRunner

    from imgclust.cli import app

    result = CliRunner().invoke(app, [*name, "--help"], prog_name="imgclust")
    if result.exit_code:
        raise SystemExit(f"imgclust {' '.join(name)} --help ended with {result.exit_code}")
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def document() -> str:
    """The text of docs/commands.md."""
    parts = [
        "# Commands",
        "",
        "What `imgclust COMMAND --help` prints; made by `scripts/lint --write`.",
        "",
        "```text",
        help_of(()),
        "```",
    ]
    for name in names():
        parts += ["", f"## imgclust {' '.join(name)}", "", "```text", help_of(name), "```"]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the document, or compare it with what stands there."""
    if set(sys.argv[1:]) - {"--check"}:
        raise SystemExit((__doc__ or "").strip())
    os.environ.update(COLUMNS="80", NO_COLOR="1", TERM="dumb")
    text = document()
    if "--check" in sys.argv:
        if not DOCUMENT.is_file() or DOCUMENT.read_text("utf-8") != text:
            raise SystemExit("docs/commands.md is not current; run scripts/lint --write")
        return
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
