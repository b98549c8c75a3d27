"""Names of cluster folders and of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclust.errors import UsageError
from imgclust.links import names


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        ("{id:03d}", None, b"007"),
        ("{id:03d}", "cats", b"007-cats"),
        ("{id:03d}-{name}", None, b"007"),
        ("{id:03d}-{name}", "cats", b"007-cats"),
        ("{id}_{count}", None, b"7_41"),
        ("{id}_{count}", "cats", b"7_41-cats"),
        ("{name} ({id})", "cats", b"cats (7)"),
        ("{id:03d}", "a/b\\c\n:d\x00", b"007-a_b_c__d_"),
        ("{id:03d}", "../../etc", b"007-_.._etc"),
        ("{id:03d}", "trailing . ", b"007-trailing"),
        ("{id:03d}", " . ", b"007"),
        (".-{id}", None, b"7"),
        ("{name}{id}", "com", b"com7_"),
        ("{id:03d}", "Ka\u0308se", "007-Käse".encode()),
        ("{id:03d}", "\udcff", b"007-_"),
    ],
)
def test_folder_name_is_one_harmless_component(
    template: str, name: str | None, expected: bytes
) -> None:
    assert names.folder_name(template, id=7, name=name, count=41) == expected


@pytest.mark.parametrize("template", ["cluster", "{name}", "{id", "{id}{x}", "{}{id}", "{id:q}"])
def test_a_bad_folder_template_is_a_usage_error(template: str) -> None:
    with pytest.raises(UsageError, match="folder template"):
        names.folder_name(template, id=1, name="x", count=1)


@pytest.mark.parametrize("template", ["{id:03d}", "{name}-{id}"])
def test_a_long_folder_name_keeps_its_id_and_whole_characters(template: str) -> None:
    name = names.folder_name(template, id=1234, name="ä" * 300, count=1)
    assert 250 <= len(name) <= 255
    assert "1234" in name.decode()


@given(st.text(max_size=300), st.integers(0, 10**9))
def test_any_cluster_name_makes_a_folder_name(name: str, cluster: int) -> None:
    made = names.folder_name("{id:03d}", id=cluster, name=name, count=0)
    assert 1 <= len(made) <= 255
    assert not set(made) & set(b'/\\:*?"<>|\x00\n')
    assert made.startswith(b"%03d" % cluster)
    assert not made.endswith((b".", b" "))
    made.decode()


def test_entry_name_is_the_base_name_or_has_the_image_id() -> None:
    def name(base: bytes, *taken: bytes) -> bytes:
        return names.entry_name(base, 7, set(taken).__contains__)

    assert name(b"a.jpg") == b"a.jpg"
    assert name(b"a.jpg", b"a.jpg") == b"a~7.jpg"
    assert name(b"a.jpg", b"a.jpg", b"a~7.jpg") == b"a~7-2.jpg"
    assert name(b"\xff\n.jpg", b"\xff\n.jpg") == b"\xff\n~7.jpg"
    assert name(b"README", b"README") == b"README~7"
    long = "ä".encode() * 125 + b".jpeg"
    assert name(long) == long
    assert len(name(long, long)) <= 255
    assert name(long, long).decode().endswith("ä~7.jpeg")
    odd = b"a." + b"x" * 253
    assert len(name(odd, odd)) == 255
