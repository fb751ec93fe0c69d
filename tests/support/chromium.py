"""A headless Chromium. Tests that import this are skipped where Chromium or the package playwright is missing.

EDGEVID_CHROMIUM names the program where it is not on the path. Of playwright the driver alone is used: it fetches none.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = os.environ.get("EDGEVID_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
if PROGRAM is None:
    pytest.skip("there is no Chromium on this machine", allow_module_level=True)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, closed at the end of the block."""
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield made
        made.close()
