"""Series from a real PostgreSQL server, started for the test; skipped where it or pg8000 is absent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from edgevid.errors import SourceError
from edgevid.insight import read_series

driver = pytest.importorskip("pg8000.dbapi", reason="pg8000 is not installed")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
AS_OTHER = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
pytestmark = pytest.mark.skipif(not BINARIES, reason="PostgreSQL is not installed (apt-get install postgresql)")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = Path(subprocess.check_output([*AS_OTHER, "mktemp", "-d"], text=True).strip())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = folder / "secret"
    subprocess.run([*AS_OTHER, "sh", "-c", f"echo hidden > {secret}"], check=True)
    subprocess.run([*AS_OTHER, BINARIES[-1] / "initdb", "-D", folder / "data", "-U", "reader",
                    "-A", "scram-sha-256",
                    f"--pwfile={secret}"], check=True, capture_output=True)  # fmt: skip
    control = [*AS_OTHER, BINARIES[-1] / "pg_ctl", "-D", folder / "data", "-w"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], check=True, capture_output=True)
    try:
        yield port
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_rows_of_a_table_and_of_a_query_are_series(server):
    base = driver.connect(user="reader", password="hidden", host="127.0.0.1", port=server, database="postgres")
    cursor = base.cursor()
    cursor.execute("CREATE TABLE readings (sensor int, t float8, v float8)")
    cursor.execute("INSERT INTO readings SELECT s, t, s + t FROM generate_series(1, 30) s, generate_series(0, 39) t")
    base.commit()
    address = f"postgresql://reader:hidden@127.0.0.1:{server}/postgres"
    columns = {"id_column": "sensor", "time_column": "t", "value_column": "v"}
    (whole,) = read_series(address, table="readings", **columns)
    (some,) = read_series(address, table="SELECT * FROM readings WHERE sensor <= 10 ORDER BY sensor", **columns)
    assert whole.ids == [str(i) for i in range(1, 31)]
    assert len(some.ids) == 10
    assert whole.features[4, whole.names.index("p50")] == pytest.approx(5 + 19.5)
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_series(address, table="DELETE FROM readings RETURNING *", **columns))
    cursor.execute("SELECT count(*) FROM readings")
    assert cursor.fetchone()[0] == 1200
    base.close()


@pytest.mark.parametrize(("user", "table"), [("reader:wrong", "readings"), ("reader:hidden", "nowhere")])
def test_a_wrong_password_and_an_unknown_table_are_one_sentence_without_the_password(server, user, table):
    with pytest.raises(SourceError, match="PostgreSQL cannot be read") as said:
        list(read_series(f"postgresql://{user}@127.0.0.1:{server}/postgres", table=table))
    assert "wrong" not in str(said.value)
    assert "hidden" not in str(said.value)
