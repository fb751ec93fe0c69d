"""A playlist on the disk that leads to itself ends with a sentence."""

from pathlib import Path

import pytest

from edgevid import open_video
from edgevid.errors import SourceError
from edgevid.video import files


@pytest.mark.timeout(60)
def test_a_playlist_that_leads_to_itself_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "OPEN_S", 0.2)
    path = tmp_path / "self.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nself.m3u8\n")
    with pytest.raises(SourceError, match=r"self\.m3u8: expected a video"):
        open_video(path)
