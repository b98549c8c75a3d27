from pathlib import Path

import pytest

from imgclust.embedding.recipe import Recipe, recipe_of
from imgclust.errors import RecipeError
from imgclust.weights.loader import Weights

TRUNK = Weights("trunk", "trunk", "ab" * 32, Path("trunk.npz"))
FULL = Weights("file", "full", "cd" * 32, Path("x.h5"))


def test_trunk_recipe() -> None:
    recipe = recipe_of(TRUNK)
    assert recipe.layers == ("mixed6", "mixed8")
    assert recipe.dimensions == 768 + 1280
    assert recipe.preprocessing == "x/255"
    assert recipe.square_root
    assert recipe.normalisation == "parts+whole"
    assert recipe.side == 299
    assert recipe.short == "inception_v3 mixed6+mixed8, weights abababab"


def test_full_recipe_and_raw() -> None:
    recipe, raw = recipe_of(FULL), recipe_of(FULL, raw=True)
    assert (recipe.layers, recipe.dimensions) == (("mixed10",), 2048)
    assert (recipe.preprocessing, recipe.normalisation) == ("x/127.5-1", "whole")
    assert (raw.square_root, raw.normalisation) == (False, "none")
    assert raw.name != recipe.name


def test_name_is_stable_and_read_back() -> None:
    recipe = recipe_of(TRUNK)
    assert recipe.name == (
        '{"backbone":"inception_v3","dimensions":2048,"layers":["mixed6","mixed8"],'
        '"normalisation":"parts+whole","numerical_class":"float","pooling":"average",'
        '"preprocessing":"x/255","square_root":true,"weights_sha256":"' + "ab" * 32 + '"}'
    )
    assert Recipe.parse(recipe.name) == recipe


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers":["a"],"colour":1}'])
def test_parse_refuses_what_is_no_recipe(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)
