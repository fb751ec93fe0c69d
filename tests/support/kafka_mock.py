"""The mock cluster of librdkafka, with brokers that go away and come back; Python has no calls for these."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

kafka = pytest.importorskip("confluent_kafka", reason='needs confluent-kafka: pip install "edgevid[kafka]"')


def library() -> ctypes.CDLL:
    """librdkafka as confluent-kafka brings it."""
    folder = Path(kafka.__file__).resolve().parents[1] / "confluent_kafka.libs"
    found = next(folder.glob("librdkafka*"), None)
    if found is None:
        pytest.skip("needs confluent-kafka's wheel, which brings librdkafka")
    loaded = ctypes.CDLL(str(found))
    for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(loaded, name).restype = ctypes.c_void_p
    loaded.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return loaded


class Cluster:
    """One broker."""

    def __init__(self) -> None:
        self._library = library()
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(0, None, ctypes.create_string_buffer(512), 512))
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 1))
        self.address = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def down(self) -> None:
        """Ends all connections, and refuses new ones."""
        assert not self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        """Takes connections again."""
        assert not self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def messages(self, topic: str, number: int) -> list[kafka.Message]:
        """The messages of a topic, once there are `number`, in their order within each partition."""
        consumer = kafka.Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 0})
        try:
            partitions = consumer.list_topics(topic, 10).topics[topic].partitions
            consumer.assign([kafka.TopicPartition(topic, one, kafka.OFFSET_BEGINNING) for one in partitions])
            found: list[kafka.Message] = []
            while len(found) < number and (more := consumer.consume(number - len(found), 5)):
                found += [one for one in more if not one.error()]
            found += [one for one in consumer.consume(1000, 0.5) if not one.error()]
            return found
        finally:
            consumer.close()


@contextlib.contextmanager
def mock_cluster() -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.close()
