"""The catalog: every recipe and sample by name, and where its file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.errors import InputError
from edgevid.files.folders import CACHE
from edgevid.models.hub import DEFAULT_MODEL, entries, find_entry, find_recipe, recipes
from edgevid.runtime.recipe import LocalRecipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))


def test_entries_are_the_recipes_and_the_samples() -> None:
    models, known = recipes(), entries()
    assert list(models) == sorted(models)
    assert DEFAULT_MODEL in models
    assert {name for name, one in known.items() if one.kind != "sample"} == set(models)
    assert known["car-detection"].kind == "sample"
    assert known["car-detection"].cached.suffix == ".mp4"


def test_a_file_next_to_its_recipe_is_local_and_shipped() -> None:
    for name, recipe in recipes().items():
        one = find_entry(name)
        assert one.shipped == isinstance(recipe, LocalRecipe)  # the cache is empty
        assert one.local is None or one.local.is_file()


def test_a_downloaded_file_is_local_and_not_shipped() -> None:
    one = find_entry(DEFAULT_MODEL)
    assert one.local is None
    one.cached.parent.mkdir(parents=True)
    one.cached.write_bytes(b"a model")
    assert find_entry(DEFAULT_MODEL).local == one.cached
    assert not find_entry(DEFAULT_MODEL).shipped
    assert isinstance(recipes()[DEFAULT_MODEL], LocalRecipe)


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(InputError, match="did you mean 'yolox-tiny'"):
        find_entry("yolox-tinny")
    with pytest.raises(InputError, match="did you mean 'yolox-tiny'"):
        find_recipe("yolox-tinny")
    with pytest.raises(InputError, match="did you mean 'vtest'"):
        find_entry("vtst")
