"""Errors are the builtins a user would guess, and say what to do next."""

from __future__ import annotations

import time
from importlib.metadata import version

import pytest

from edgevid import errors


def test_each_error_is_also_the_builtin_that_a_user_would_guess() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.SourceError, OSError)
    assert issubclass(errors.ModelError, RuntimeError)
    assert issubclass(errors.MissingExtraError, ImportError)
    every = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert all(issubclass(error, errors.EdgevidError) for error in every)


def test_a_file_mistake_names_file_key_expected_and_got() -> None:
    error = errors.FileFormatError("a.toml", "input.width", expected="a positive whole number", got=-3)
    assert str(error) == "a.toml: input.width: expected a positive whole number, got -3"


def test_an_absent_extra_is_answered_with_the_pip_line() -> None:
    with pytest.raises(errors.MissingExtraError, match=r'pip install "edgevid\[train\]"'):
        errors.require("a_package_that_is_not_there", extra="train", purpose="training")
    assert errors.require("json", extra="train", purpose="training").dumps([1]) == "[1]"


def test_a_word_that_is_none_of_the_known_is_answered_with_all_of_them() -> None:
    errors.check_choice("cpu", ("cpu", "cuda"), "device")
    with pytest.raises(errors.InputError, match=r"^device: expected one of cpu, cuda, got 'cpuu'; did you mean 'cpu'"):
        errors.check_choice("cpuu", ("cpu", "cuda"), "device")
    with pytest.raises(errors.InputError, match=r"^device: expected one of cpu, cuda, got \[0\]$"):
        errors.check_choice([0], ("cpu", "cuda"), "device")


def test_versions_are_those_of_the_installed_packages() -> None:
    assert errors.module_version("numpy") == version("numpy")
    assert errors.module_version("json", unstated="installed") == "installed"  # of no package of its name
    assert errors.module_version("no_such_module", unstated="installed") == ""


def test_a_fault_inside_an_installed_package_is_not_taken_for_its_absence(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "half_there.py").write_text("import something_else_that_is_missing\n")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        errors.require("half_there", extra="train", purpose="training")


def test_a_hidden_secret_that_is_a_part_of_another_leaves_nothing_of_it() -> None:
    for secret in ("gate", "gate-7781", "te-77"):
        errors.hide(secret)
    assert errors.masked("login with gate-7781 failed") == "login with *** failed"


@pytest.mark.parametrize("part", ["token", "passpass", "%3A%2F%2F"])
def test_a_hostile_text_is_masked_in_linear_time(part: str) -> None:
    start = time.process_time()
    assert errors.masked(part * 10_000) == part * 10_000  # a minute and more where the time is quadratic
    assert time.process_time() - start < 2


@pytest.mark.parametrize("part", ["a+", "?token=a: b", "rtsp:", "rtsp://u:p@h/1 ", "http://h/1 ", "//", "@x:"])
def test_secrets_are_masked_behind_a_long_text(part: str) -> None:
    long = part * (200_000 // len(part))  # minutes, where the time is quadratic
    text = errors.masked(f"rtsp://u:p{long} rtsp://gate:hunter2@host/1")
    assert "hunter2" not in text
    assert text.endswith("***@host/1")


def test_a_login_in_another_line_is_masked_too() -> None:
    assert errors.masked("rtsp://u:p\n//gate:hunter2@host/1") == "rtsp://u:p\n//***:***@host/1"
