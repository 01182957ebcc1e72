"""moto's S3 in a process of its own, on a free port of 127.0.0.1. It ends when its standard input is closed.

So it also ends when the test run is killed.
"""

import logging
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[3]
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_STOP_S = 10


class MotoServer:
    """One S3 with one bucket."""

    bucket = "contract-media"

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.media.moto_running"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_start(self) -> None:
        """Read the port and make the bucket."""
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.request("PUT", f"/{self.bucket}")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str) -> str:
        """An unsigned request, which moto accepts."""
        request = urllib.request.Request(f"{self.endpoint}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read(), "utf-8")

    def unfinished_uploads(self) -> list[str]:
        """The keys of multipart uploads that are neither completed nor aborted."""
        answer = ElementTree.fromstring(self.request("GET", f"/{self.bucket}?uploads"))
        return [str(key.text) for key in answer.iter(f"{_NAMESPACE}Key")]

    def stop(self) -> None:
        """End the process, also if it does not react."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def moto_server() -> Iterator[MotoServer]:
    """S3 while the block runs, ended also after a failure."""
    server = MotoServer()
    try:
        server.wait_for_start()
        yield server
    finally:
        server.stop()


def main() -> None:
    """Serve until standard input ends, without a line for each request."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
