"""What packages export, docstrings of layer 1, and the types of results and methods."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imgclust
import imgclust.collection
from tests.test_layers import LAYER_1, PACKAGE

# The other packages export nothing: an import names the module that defines what it takes.
WITH_EXPORTS = {PACKAGE, *(PACKAGE / name for name in ("cli", "collection", "config"))}
NOUNS = sorted(noun for noun in LAYER_1 if any(PACKAGE.glob(f"{noun}*")))


def modules_of(noun: str) -> Iterator[ast.Module]:
    for path in [PACKAGE / f"{noun}.py", *PACKAGE.glob(f"{noun}/*.py")]:
        if path.exists():
            yield ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("__init__.py")) if path.parent not in WITH_EXPORTS],
    ids=lambda path: path.parent.name,
)
def test_a_package_says_what_it_is_and_exports_nothing(path: Path) -> None:
    module = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(module)
    assert len(module.body) == 1


@pytest.mark.parametrize("noun", NOUNS)
def test_public_functions_and_classes_say_what_they_are(noun: str) -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [
        node
        for module in modules_of(noun)
        for node in module.body
        if isinstance(node, kinds) and not node.name.startswith("_")
    ]
    assert public
    assert not [node.name for node in public if not (ast.get_docstring(node) or "").strip()]


def test_the_package_itself() -> None:
    assert imgclust.__all__ == sorted(imgclust.__all__)
    assert "Collection" in imgclust.__all__
    for name in imgclust.__all__:
        getattr(imgclust, name)


@pytest.mark.parametrize("module", ["imgclust.collection", "imgclust.collection.results"])
def test_names_are_loaded_from_where_type_checkers_find_them(module: str) -> None:
    it = importlib.import_module(module)
    checked = next(
        node for node in ast.parse(inspect.getsource(it)).body if isinstance(node, ast.If)
    )
    there = {
        (line.module, alias.name)
        for line in checked.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    there.discard(("imgclust.collection.results", "*"))
    assert {(f"imgclust.{home}", name) for name, home in it._HOME_OF.items()} == there


@pytest.mark.parametrize("module", ["imgclust", "imgclust.collection"])
def test_names_that_load_on_first_use_are_listed_before(module: str) -> None:
    names = f"import {module} as it; print(set(it.__all__) - set(dir(it)))"
    done = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError):
        imgclust.no_such_name  # noqa: B018


def methods() -> list[str]:
    """Names of the public methods and properties of a collection."""
    return [name for name in dir(imgclust.Collection) if not name.startswith("_")]


@pytest.mark.parametrize("name", methods())
def test_the_types_of_a_method_are_known_at_run_time(name: str) -> None:
    found: Any = inspect.getattr_static(imgclust.Collection, name)
    found = getattr(found, "__func__", getattr(found, "fget", found))
    assert "return" in typing.get_type_hints(found)


def test_the_types_in_results_are_known_at_run_time() -> None:
    names = vars(imgclust.collection)["__all__"]
    assert len(names) > 60
    values = [getattr(imgclust.collection, name) for name in names]
    for value in [value for value in values if inspect.isclass(value) or inspect.isfunction(value)]:
        typing.get_type_hints(value)


def test_a_name_is_loaded_once() -> None:
    code = (
        "import imgclust, imgclust.collection as it; print('Collection' in vars(it)); "
        "it.Collection; print('Collection' in vars(it)); "
        "imgclust.Collection; print('Collection' in vars(imgclust))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_paths_of_results_are_there_as_paths() -> None:
    raw = b"/photos/\xff odd.jpg"
    path = Path(os.fsdecode(raw))
    located: list[Any] = [
        imgclust.collection.Neighbour(1, raw, 0.5, None, None),
        imgclust.collection.Duplicate(1, raw, 0.5, 2, 2, 9, "best"),
        imgclust.collection.Quarantined(raw, "why", 1, 0.0),
        imgclust.collection.Member(1, raw, 0.5),
        imgclust.collection.MissingImage(1, raw, 1, None),
        imgclust.collection.Removed(1, raw),
        imgclust.collection.RootRow(raw, "added", "added", None, 1, 0, None, None),
        imgclust.collection.RemovedRoot(raw, True, 1, False, False),
        imgclust.collection.Event("note", "words", raw),
    ]
    for one in located:
        assert one.path == raw
        assert one.location == path
        assert os.fsencode(path) == raw
    assert imgclust.collection.Event("note", "words").location is None
    moved = imgclust.collection.MovedRoot(raw, b"/new")
    assert (moved.old_location, moved.new_location) == (path, Path("/new"))
    row = imgclust.collection.CollectionRow("one", 1, 1, 9, (raw, b"/a"), False)
    assert row.root_locations == (path, Path("/a"))


def test_every_result_with_a_path_in_bytes_has_it_as_a_path_too() -> None:
    for name in imgclust.collection.results._HOME_OF:
        value = getattr(imgclust.collection, name)
        if not dataclasses.is_dataclass(value):
            continue
        fields = {field.name: str(field.type) for field in dataclasses.fields(value)}
        for field, kind in fields.items():
            if kind in {"bytes", "bytes | None"} and name != "Manifest":
                beside = {"path": "location", "medoid_path": "medoid_location"}
                assert hasattr(value, beside.get(field, f"{field}_location")), (name, field)


def test_what_a_collection_works_with_is_private() -> None:
    assert not {"catalog", "keep", "accept_trunk", "our_folders", "link_syncer", "open_index"} & {
        *methods()
    }


@pytest.mark.parametrize("package", ["imgclust", "imgclust.collection"])
def test_no_name_hides_a_module_that_it_does_not_mean(package: str) -> None:
    """`from imgclust.collection import clusters` is the module, whatever was loaded before."""
    it = importlib.import_module(package)
    folder = Path(inspect.getfile(it)).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert not modules & set(vars(it)["__all__"])
