"""Whether random tests run in full, as `make long` has them, or with a tenth of their examples."""

import os


def examples(full: int) -> int:
    """`full` where EDGEVID_TEST_LONG is set, else a tenth of it."""
    return full if os.environ.get("EDGEVID_TEST_LONG") else full // 10
