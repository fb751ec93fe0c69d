"""Metrics: what Prometheus reads while a run goes on."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import pytest
from event_samples import an_event
from result_samples import sample_result

from edgevid.errors import InputError, SourceError
from edgevid.output.metrics import Metrics
from edgevid.run.loop import Summary
from edgevid.types import Header

pytest.importorskip("prometheus_client", reason="needs prometheus_client: pip install prometheus-client")


def test_the_counts_of_a_run_are_served() -> None:
    summary, source = Summary(), SimpleNamespace(dropped=3, damaged=1, corrupted=0, reconnections=2)
    summary.workers = [SimpleNamespace(name="sqlite a.db", backlog=7, delivered=5, dropped=0, rejected=1)]  # type: ignore[list-item]
    with Metrics("127.0.0.1:0", source, summary) as metrics:
        metrics.open(Header("gate"))
        frame, result = sample_result()
        metrics.write(frame, result)
        summary.add(replace(result, gated=True))
        summary.add_event(an_event(1, class_name="person"))
        text = urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics").read().decode()
    for line in (
        'edgevid_frames_total{camera="gate"} 1.0',
        'edgevid_gated_total{camera="gate"} 1.0',
        'edgevid_dropped_total{camera="gate"} 3.0',
        'edgevid_reconnections_total{camera="gate"} 2.0',
        'edgevid_tracks_total{camera="gate",class="person"} 2.0',
        'edgevid_events_total{camera="gate",class="person",kind="cross"} 1.0',
        'edgevid_abstentions_total{camera="gate",reason="TOO_SMALL",task="action"} 1.0',
        'edgevid_emitted_total{camera="gate",task="speed"} 1.0',
        'edgevid_stage_seconds_bucket{camera="gate",le="0.01",stage="detect"} 1.0',
        'edgevid_sink_backlog{camera="gate",sink="sqlite a.db"} 7.0',
        'edgevid_sink_rejected_total{camera="gate",sink="sqlite a.db"} 1.0',
    ):
        assert line in text or line.replace('kind="cross"', "") in text, text


def test_a_wrong_address_and_a_port_that_is_taken_are_one_sentence() -> None:
    with pytest.raises(InputError, match=r"expected an address such as .*, got 'localhost'"):
        Metrics("localhost", None, Summary())
    with Metrics("127.0.0.1:0", None, Summary()) as metrics, pytest.raises(SourceError, match="choose another"):
        Metrics(f"127.0.0.1:{metrics.port}", None, Summary())
