"""``rediss://``: a producer and a worker over TLS, and what they say of a certificate they cannot trust (F32).

Needs a server that was built with TLS; the bundled one is not, Debian's redis-server is.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.processes import free_port
from harness.server import RealServer

from seatline.producer import Queue
from seatline.shared.errors import ServerUnavailable
from seatline.worker import Context, Handlers, Worker

BINARY = Path("/usr/bin/redis-server")

pytestmark = pytest.mark.skipif(
    not BINARY.exists(), reason="needs a server built with TLS, such as Debian's redis-server"
)

handlers = Handlers()


@handlers.handler("double")
def double(ctx: Context, n: int) -> int:
    return 2 * n


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away authority and a certificate of localhost by it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(folder, "req", "-x509", *key, "-days", "2", "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.crt")
    _openssl(folder, "req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    return folder


@pytest.fixture
def port(authority: Path) -> Iterator[int]:
    number = free_port()
    files = [f"tls-cert-file {authority}/server.crt", f"tls-key-file {authority}/server.key"]
    config = [f"tls-port {number}", *files, f"tls-ca-cert-file {authority}/ca.crt", "tls-auth-clients no"]
    with RealServer(binary=BINARY, password="pass:word/1", config=config):
        yield number


def test_a_job_goes_all_the_way_over_tls(port: int, authority: Path) -> None:
    """Verified by its authority and its name; the password may hold what a URL must quote."""
    url = f"rediss://:pass%3Aword%2F1@localhost:{port}/0?ssl_ca_certs={authority}/ca.crt"
    worker = Worker(handlers, url, namespace="tls")
    thread = threading.Thread(target=worker.run)
    thread.start()
    with Queue(url, namespace="tls") as queue:
        assert queue.enqueue("double", {"n": 21}).result(timeout=10) == 42
        assert "word" not in repr(queue)
    worker.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "url",
    ["rediss://:pass%3Aword%2F1@localhost:{port}/0", "rediss://:pass%3Aword%2F1@127.0.0.1:{port}/0?ssl_ca_certs={ca}"],
)
def test_a_certificate_that_cannot_be_trusted(port: int, authority: Path, url: str) -> None:
    """An unknown authority, or another name than asked for: refused in one line, without the password, never in clear."""
    with (
        Queue(url.format(port=port, ca=authority / "ca.crt"), namespace="tls", deadline=0.5) as queue,
        pytest.raises(ServerUnavailable, match="certificate verify failed") as caught,
    ):
        queue.enqueue("double", {"n": 1})
    assert len(str(caught.value).splitlines()) == 1
    assert "word" not in str(caught.value)
