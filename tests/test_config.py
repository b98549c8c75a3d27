from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from imgclust.config import Settings, default_toml, find_file, flatten, load, loader
from imgclust.errors import UsageError
from imgclust.numbers import recurrence

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in flatten(Settings()):
        monkeypatch.delenv("IMGCLUST_" + key.replace(".", "_").upper(), raising=False)


def written(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_default_toml_is_what_the_types_say() -> None:
    text = (ROOT / "configs" / "default.toml").read_text("utf-8")
    assert text == default_toml(), "run scripts/lint --write"


def test_default_toml_holds_every_setting_with_its_default() -> None:
    document = tomllib.loads(default_toml())
    assert document == {
        section: {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in content.items()
        }
        for section, content in dataclasses.asdict(Settings()).items()
    }
    assert load([str(ROOT / "configs" / "default.toml")]).settings == Settings()


def test_classic_is_found_by_name_and_has_the_ancestors_steps() -> None:
    settings = load(["classic"]).settings
    assert settings.embedding.weights == "imagenet"
    assert settings.embedding.raw
    assert settings.clustering.standardise
    assert settings.clustering.pca_dims == 50
    assert settings.clustering.space == "tsne"
    assert (settings.clustering.k_min, settings.clustering.k_max) == (1, 99)
    assert settings.views.dims == 2
    assert settings.links.folder.format(id=7, count=12) == "7_12"


def test_layers_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path, "[watch]\nsettle_s = 2\nrescan_s = 20\nyoung_s = 200\n")
    second = tmp_path / "second.toml"
    second.write_text("[watch]\nsettle_s = 3\nrescan_s = 30\n")
    monkeypatch.setenv("IMGCLUST_WATCH_SETTLE_S", "4.5")
    effective = load([first, str(second)], {"watch.polling": True, "watch.rescan_s": None})
    watch = effective.settings.watch
    assert (watch.settle_s, watch.rescan_s, watch.young_s, watch.polling) == (4.5, 30, 200, True)
    assert watch.hold_share == 0.2
    assert effective.origin["watch.settle_s"] == "IMGCLUST_WATCH_SETTLE_S"
    assert effective.origin["watch.rescan_s"] == str(second)
    assert effective.origin["watch.young_s"] == first
    assert effective.origin["watch.polling"] == "flag"
    assert effective.origin["watch.hold_share"] == "default"


def test_a_flag_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGCLUST_CLUSTERING_K", "7")
    assert load().settings.clustering.k == "7"
    assert load(flags={"clustering.k": 40}).settings.clustering.k == "40"


def test_an_empty_variable_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGCLUST_CLUSTERING_K", "")
    assert load().settings.clustering.k == "auto"


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("IMGCLUST_WATCH_POLLING", "true", "watch.polling", True),
        ("IMGCLUST_DECODE_THUMBNAILS", "0", "decode.thumbnails", False),
        ("IMGCLUST_DECODE_WORKERS", "3", "decode.workers", 3),
        ("IMGCLUST_WATCH_RETRY_S", "1,2.5", "watch.retry_s", (1.0, 2.5)),
        ("IMGCLUST_EMBEDDING_WEIGHTS", "trunk", "embedding.weights", "trunk"),
    ],
)
def test_variables_of_every_type(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, key: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    assert flatten(load().settings)[key] == value


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[watch]\nsettle = 1\n", "watch.settle_s"),
        ("[clustering]\npca_dim = 10\n", "clustering.pca_dims"),
        ("[cluster]\nspace = 'pca'\n", "clustering.space"),
        ("[watch]\npca_dims = 10\n", "clustering.pca_dims"),
        ("settle_s = 1\n", "watch.settle_s"),
    ],
)
def test_unknown_keys_name_the_nearest_right_one(tmp_path: Path, text: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {near}\\?"):
        load([written(tmp_path, text)])


@pytest.mark.parametrize(("text", "near"), [("[watc]\n", r"\[watch\]"), ("[zzz]\n", "there are")])
def test_unknown_sections_without_keys_are_refused_too(
    tmp_path: Path, text: str, near: str
) -> None:
    with pytest.raises(UsageError, match=near):
        load([written(tmp_path, text)])


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("IMGCLUST_WATCH_SETTLE", "did you mean IMGCLUST_WATCH_SETTLE_S?"),
        ("IMGCLUST_CLUSTERING_PCA_DIM", "did you mean IMGCLUST_CLUSTERING_PCA_DIMS?"),
        ("IMGCLUST_INDX", "did you mean IMGCLUST_INDEX?"),
    ],
)
def test_variables_that_set_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(UsageError) as caught:
        load()
    assert str(caught.value) == f"the environment variable {variable} sets nothing; {words}"
    monkeypatch.setenv(variable, "")
    load()


def test_an_unlike_key_points_at_the_list(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no setting zzz\.qqq; imgclust config show lists"):
        load([written(tmp_path, "[zzz]\nqqq = 1\n")])


WRONG: list[tuple[str, Any, str]] = [
    ("watch.settle_s", "soon", "is no number"),
    ("watch.settle_s", True, "is no number"),
    ("watch.settle_s", float("nan"), "is no number"),
    ("watch.settle_s", float("inf"), "is no number"),
    ("watch.settle_s", -1.0, "is less than 0"),
    ("watch.polling", 1, "is no true or false"),
    ("watch.polling", "yes", "is no true or false"),
    ("watch.missing_scans", 2.0, "is no whole number"),
    ("watch.missing_scans", True, "is no whole number"),
    ("watch.missing_scans", 0, "is less than 1"),
    ("watch.retry_s", 5.0, "is no list of numbers"),
    ("watch.retry_s", [1.0, "two"], "is no list of numbers"),
    ("watch.retry_s", [1.0, -2.0], "has a negative number"),
    ("embedding.weights", 5, "is no text"),
    ("embedding.batch", -1, "is less than 0"),
    ("embedding.device", "tpu", "is not one of auto, cpu, gpu"),
    ("clustering.space", "umap", "is not one of smoothed, pca, embedding, tsne"),
    ("clustering.k", "many", "is neither auto nor a whole number"),
    ("clustering.k", 0, "is neither auto nor a whole number"),
    ("clustering.k", 2.5, "is neither auto nor a whole number"),
    ("views.dims", 4, "is not one of 2, 3"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_wrong_values_say_which_and_why(key: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(flags={key: value})
    message = str(caught.value)
    assert key in message
    assert words in message
    assert "\n" not in message


def test_a_wrong_value_names_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[watch]\nsettle_s = '1'\n")
    with pytest.raises(UsageError) as caught:
        load([path])
    assert str(caught.value) == f"{path}: watch.settle_s = '1' is no number"


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGCLUST_DECODE_WORKERS", "two")
    with pytest.raises(UsageError, match=r"^IMGCLUST_DECODE_WORKERS: decode\.workers = 'two'"):
        load()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[watch\n", "cannot be read"), (b"\xff\xfe", "cannot be read")],
    ids=["no TOML", "no UTF-8"],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        load([str(path)])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no configuration is called 'clasic'; there are class"):
        load(["clasic"])
    with pytest.raises(UsageError, match="does not exist"):
        load([str(tmp_path / "absent.toml")])


def test_configurations_are_found_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "imgclust" / "configs"
    inside.mkdir(parents=True)
    (inside / "mine.toml").touch()
    monkeypatch.setattr(loader, "__file__", str(tmp_path / "imgclust" / "config" / "loading.py"))
    assert find_file("mine") == inside / "mine.toml"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().watch.settle_s = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(("5000", (5000, None)), ("90m", (None, 5400.0)), ("12h", (None, 43200.0))),
        *(("7d", (None, 604800.0)), ("off", None), ("0", None), ("0d", None), ("d", None)),
        *(("1.5h", None), ("-3", None), ("", None)),
    ],
)
def test_recurrence(text: str, said: object) -> None:
    assert recurrence(text) == said


def test_recluster_every_is_a_number_of_images_or_a_time(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[clustering]\nrecluster_every = 5000\n")
    assert load([str(file)]).settings.clustering.recluster_every == "5000"
    with pytest.raises(UsageError, match="neither a number of images"):
        load(flags={"clustering.recluster_every": "weekly"})
