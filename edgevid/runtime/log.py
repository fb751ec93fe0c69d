"""Sentences that are logged once, however often their cause comes back."""

import logging
from functools import lru_cache

log = logging.getLogger("edgevid")


@lru_cache(maxsize=1024)
def log_once(sentence: str, level: int = logging.INFO) -> None:
    """Logs a sentence at its first call; the same sentence again is dropped."""
    log.log(level, "%s", sentence)
