"""The layers of docs/architecture.md, checked against the imports of every module."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "imgclust"

LAYER_0 = {
    "errors",
    "config",
    "devices",
    "fs",
    "failpoints",
    "locks",
    "numbers",
    "paths",
    "progress",
    "vectors",
    "wording",
}
LAYER_1 = {
    "images",
    "weights",
    "embedding",
    "catalog",
    "index",
    "clustering",
    "projection",
    "watcher",
    "charts",
}
LAYER_2 = {
    "reconcile",
    "ingest",
    "clusters",
    "search",
    "maps",
    "links",
    "doctor",
    "export",
    "duplicates",
    "reembed",
    "report",
    "backup",
}
BELOW_2 = LAYER_0 | LAYER_1

# What each noun may import. A new noun adds its row; no row is widened.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "config": {"errors", "fs", "numbers"},
    "devices": {"errors", "config"},
    "locks": {"errors"},
    "fs": set(),
    "numbers": {"errors"},
    "failpoints": {"errors", "config"},
    "paths": {"config", "errors", "fs", "wording"},
    "progress": {"errors"},
    "vectors": {"errors"},
    "wording": set(),
    **dict.fromkeys(LAYER_1, LAYER_0),
    "embedding": LAYER_0 | {"weights"},
    **dict.fromkeys(LAYER_2, BELOW_2),
    "ingest": BELOW_2 | {"reconcile"},
    "doctor": BELOW_2 | {"clusters", "links", "reconcile", "search"},
    "report": BELOW_2 | {"clusters", "export", "links", "maps"},
    "collection": BELOW_2 | LAYER_2,
    "terminal": {"collection", "config", "errors", "fs", "wording"},
    "server": {"collection", "config", "errors", "wording"},
    "cli": LAYER_0 | {"collection", "terminal", "server"},
    "__init__": {"collection"},
}

# Slow to load, so only inside the function that needs them.
HEAVY = {
    "pyarrow",
    "tensorflow",
    "keras",
    "faiss",
    "sklearn",
    "matplotlib",
    "openTSNE",
    "scipy",
    "kneed",
}
# Loaded by the command serve alone.
WEB = {"fastapi", "jinja2", "prometheus_client", "pydantic", "starlette", "uvicorn"}

# Libraries that one noun hides from the others.
ONLY_IN = {
    "apsw": {"catalog"},
    **{name: {"server"} for name in WEB},
    "matplotlib": {"charts"},
    "openTSNE": {"projection"},
    "pyarrow": {"export"},
    "tensorflow": {"embedding", "devices"},
    "tomllib": {"config"},
    "typer": {"cli"},
    "watchdog": {"watcher"},
}

VAGUE = {"utils", "helpers", "manager", "misc", "common", "base", "core", "info", "data"}
# Nouns of the field that end as a gerund does.
NOUNS = {"clustering", "embedding", "wording"}
# Words that end in "ed" or "ing" and are neither participles nor gerunds.
NO_VERBS = {"feed", "reembed"}
MOST_LINES = 600
MOST_OF_A_NAME = 4
# Modules of the package, those of `server` aside. A small new one may fit into an older one.
MOST_FILES = 220
# Grown beyond that and still to be divided. A module that is divided leaves this list.
TOO_LONG: set[str] = set()


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def noun_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


every_module = pytest.mark.parametrize("path", modules(), ids=name_of)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Dotted names of all imports, those for type checkers too; or of those outside functions."""
    waiting: list[ast.AST] = [parsed(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: write the import in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            waiting.extend(ast.iter_child_nodes(node))


def test_the_table_names_every_module_and_no_other() -> None:
    nouns = {noun_of(path) for path in modules()}
    nouns -= {"configs", "trunk"}
    assert nouns == MAY_IMPORT.keys()


@every_module
def test_imports_point_down(path: Path) -> None:
    noun = noun_of(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("imgclust.")}
    assert used <= MAY_IMPORT[noun] | {noun, "__version__"}, f"{noun} may not import these"


@every_module
def test_heavy_libraries_load_inside_functions(path: Path) -> None:
    found = {name.split(".")[0] for name in imports(path, top_level=True)}
    assert not found & HEAVY
    assert "PIL" not in found or noun_of(path) in {"images", "charts", "terminal"}


@every_module
def test_libraries_stay_where_they_belong(path: Path) -> None:
    found = {name.split(".")[0] for name in imports(path)}
    assert not {name for name in found & ONLY_IN.keys() if noun_of(path) not in ONLY_IN[name]}


@every_module
def test_layer_1_takes_no_settings(path: Path) -> None:
    if noun_of(path) in LAYER_1:
        from_config = {name for name in imports(path) if name.startswith("imgclust.config")}
        assert from_config <= {"imgclust.config.environment"}


@every_module
def test_only_config_reads_the_environment(path: Path) -> None:
    """Others may set variables for the libraries and processes that they start."""
    if noun_of(path) != "config":
        reads = [
            node.lineno
            for node in ast.walk(parsed(path))
            if (isinstance(node, ast.Attribute) and node.attr == "getenv")
            or (isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ.get")
            or (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Load)
                and ast.unparse(node.value) == "os.environ"
            )
        ]
        assert not reads, f"{name_of(path)}: lines {reads}"


@every_module
def test_one_noun_a_module(path: Path) -> None:
    assert not {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts} & VAGUE


@every_module
def test_module_names_are_no_verbs(path: Path) -> None:
    parts = {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts}
    verbs = {part for part in parts - NOUNS - NO_VERBS if part.endswith(("ing", "ed"))}
    assert not verbs, f"{name_of(path)}: use a noun"


def test_no_module_name_is_used_too_often() -> None:
    counted = Counter(path.name for path in modules())
    del counted["__init__.py"], counted["results.py"]
    assert not {name: often for name, often in counted.items() if often > MOST_OF_A_NAME}


def test_the_package_has_few_files() -> None:
    asked = subprocess.run(
        ["git", "ls-files", "--", PACKAGE], cwd=PACKAGE, capture_output=True, text=True, check=False
    )
    if asked.returncode:
        pytest.skip("not a checkout")
    modules = [
        one
        for one in asked.stdout.splitlines()
        if one.endswith(".py") and not one.startswith("server/")
    ]
    assert len(modules) <= MOST_FILES


def exported(path: Path) -> set[str]:
    """What a package offers from elsewhere, loaded lazily or not."""
    found: set[str] = set()
    for statement in parsed(path).body:
        for node in ast.walk(statement):
            if isinstance(node, ast.ImportFrom) and node.module != package_of(path):
                found |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(statement, ast.Assign) and isinstance(node, ast.Constant):
                found |= set(str(node.value).split())
    return found


def package_of(path: Path) -> str:
    return ".".join(path.parent.relative_to(PACKAGE.parent).parts)


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.name == "__init__.py"], ids=name_of
)
def test_no_export_hides_a_module(path: Path) -> None:
    below = {one.stem for one in path.parent.glob("*.py")}
    hidden = below & exported(path)
    assert not hidden, f"{package_of(path)} exports {hidden}: rename the module or the function"


@every_module
def test_modules_stay_short(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert (lines > MOST_LINES) == (name_of(path) in TOO_LONG), f"{lines} lines"


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = "import sys, imgclust.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not (HEAVY | WEB) & set(loaded)
