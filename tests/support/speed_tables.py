"""True and measured speeds of two tracks, as the text of CSV files."""

from __future__ import annotations

from pathlib import Path

TRUTH = "id,time_s,kmh\n1,0,36\n1,10,36\n2,0,0\n2,10,72\n"
RESULTS = """\
id,kind,time_s,mps,sigma_mps,reason
1,live,0.0,,,TOO_SHORT
1,live,1.0,11,1,OK
1,live,2.0,9,0.4,OK
1,live,3.0,10,1,
1,track speed,3.0,10.5,0.2,OK
2,live,4.0,8,0.1,OK
2,live,5.0,,,STALE
9,live,5.0,3,0.1,OK
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
