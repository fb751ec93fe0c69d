"""Writing the record of a frame with 50 objects: JSON lines with and without orjson, CSV, MOTChallenge text.

    python benchmarks/records.py        (with orjson: pip install 'edgevid[fast]')

Every object has a displayed speed with its standard error, a smoothed one and a verdict; a line of JSON has
15 kB. Each write goes to a file and is flushed, as in a run. Interleaved rounds in one process, medians of
the CPU time of this thread per frame.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from bench import conditions, save, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from result_samples import random_result

from edgevid.output import records
from edgevid.output.sinks import CsvSink, JsonLines, MotText
from edgevid.types import Frame

OBJECTS, ROUNDS = 50, 500


def main() -> None:
    result, frame = random_result(OBJECTS), Frame.__new__(Frame)  # no text sink reads the frame
    fast = records.orjson_dumps
    where = conditions({"orjson": metadata.version("orjson")} if fast else {})
    with tempfile.TemporaryDirectory() as folder:
        json, table_, text = (make(Path(folder) / make.__name__) for make in (JsonLines, CsvSink, MotText))
        cases = {"JSON lines": (json, None), "CSV": (table_, fast), "MOTChallenge text": (text, fast)}
        if fast:
            cases = {"JSON lines, orjson": (json, fast), **cases}
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, (sink, records.orjson_dumps) in cases.items():
                started = time.thread_time()
                sink.write(frame, result)
                times[name].append(time.thread_time() - started)
        for sink in (json, table_, text):
            sink.close()
    head = [f"{OBJECTS} objects", "CPU ms/frame"]
    rows = [[name, f"{1000 * statistics.median(taken):.3f}"] for name, taken in times.items()]
    print(table(head, rows))
    print(save("records", {"head": head, "rows": rows}, where))


if __name__ == "__main__":
    main()
