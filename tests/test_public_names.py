"""Layer 1's public names: sorted in `__all__`, all there, each with a docstring."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import typing
from types import ModuleType
from typing import Any

import pytest

import imgclust
import imgclust.collection
from tests.test_layers import LAYER_1, PACKAGE

NOUNS = sorted(noun for noun in LAYER_1 if any(PACKAGE.glob(f"{noun}*")))


def public(module: ModuleType) -> list[str]:
    """Names without underscore that the module defines or takes from its own package."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "annotations"
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__).startswith(module.__name__)
    ]


@pytest.mark.parametrize("noun", NOUNS)
def test_all_is_sorted_and_complete(noun: str) -> None:
    module = importlib.import_module(f"imgclust.{noun}")
    names = list(module.__all__)
    # As ruff's RUF022 sorts: constants, then classes, then the rest.
    order = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert names == order
    assert len(set(names)) == len(names)
    assert set(public(module)) <= set(names)
    assert all(hasattr(module, name) for name in names)


@pytest.mark.parametrize("noun", NOUNS)
def test_public_functions_and_classes_say_what_they_are(noun: str) -> None:
    module = importlib.import_module(f"imgclust.{noun}")
    silent = []
    for name in module.__all__:
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        text = value.__doc__ or ""
        # A dataclass without a docstring gets its signature as one.
        if not text.strip() or text.startswith(f"{name}("):
            silent.append(name)
    assert not silent


def test_the_package_itself() -> None:
    assert imgclust.__all__ == sorted(imgclust.__all__)
    assert "Collection" in imgclust.__all__
    for name in imgclust.__all__:
        getattr(imgclust, name)


@pytest.mark.parametrize(
    "module", ["imgclust.collection", "imgclust.collection.results", "imgclust.report"]
)
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
    if hasattr(it, "_MODULES"):
        assert {(home, name) for home, names in it._MODULES.items() for name in names} == there
    else:
        assert {(f"imgclust.{home}", name) for name, home in it._HOME_OF.items()} == there


@pytest.mark.parametrize("module", ["imgclust", "imgclust.collection", "imgclust.report"])
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
