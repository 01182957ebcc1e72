"""`python -m benchmarks.media`: what an upload or a download costs other connections. README.md has the method."""

import http.client
import io
import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from benchmarks.__main__ import machine, pid_of, say, usages
from benchmarks.generator import percentile
from benchmarks.processes import GeneratorProcess, children_cpu_s, usage
from benchmarks.running import fresh_stack, generating, write_results
from deploy.local.stack import Counts, Stack

SESSIONS = 100
RATE = 100.0
WARM_RATE, WARM_S = 300.0, float(os.environ.get("BENCH_WARM_S", "60"))
STEP_S = float(os.environ.get("BENCH_STEP_S", "20"))
PAIRS = int(os.environ.get("BENCH_PAIRS", "5"))
# A PNG of noise with this side has 19.95 MiB, just below the limit of an image. It has 7 megapixels.
IMAGE_SIDE = 2640
FILE_BYTES = 100 * 1024 * 1024
RECEIVED_AT_ONCE = 1024 * 1024
SAMPLE_S = 0.005
# The gateway allows a user 50 uploads at once, so each step has users of its own.
UPLOADS_PER_USER = 20
# What issue 14 asks for.
MOST_GROWTH_MIB, MOST_P99_RATIO = 8.0, 1.2


def main() -> None:
    """One whole run."""
    with fresh_stack("bench-media", Counts(gateways=1, echoes=0)) as stack, generating(stack) as generator:
        results = measure(stack, generator)
    write_results("media", results)
    print(json.dumps(results, indent=1))


def measure(stack: Stack, generator: GeneratorProcess) -> dict[str, Any]:
    """Run all measurements, in order."""
    results: dict[str, Any] = {"machine": machine(), "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    generator.do("connect", port=stack.ports.gateway, sessions=SESSIONS)
    say("warmed up", generator.do("run", rate=WARM_RATE, seconds=WARM_S))
    transfers = Transfers(stack.ports.gateway)
    for name, transfer in (("upload", transfers.upload), ("download", transfers.download)):
        results[name] = {"alone": alone(stack, transfer)} | pairs(stack, generator, transfer)
        say(name, results[name])
    return results


class Transfers:
    """A client that sends a 20 MiB image, or receives a 100 MiB file, as fast as the gateway takes and gives it."""

    def __init__(self, port: int) -> None:
        """Makes the image, and uploads the file."""
        self._port = port
        self._users = itertools.count()
        self._left = 0
        self._token = ""
        self._image = noise_png(IMAGE_SIDE)
        self._file_token = self._token_of("downloader")
        self._file_url = self._sent(self._file_token, os.urandom(1024 * 1024) * (FILE_BYTES // (1024 * 1024)))
        self._held = bytearray(RECEIVED_AT_ONCE)

    def upload(self) -> None:
        """Send one image and wait for the 201."""
        if not self._left:
            self._token, self._left = self._token_of(f"uploader-{next(self._users)}"), UPLOADS_PER_USER
        self._left -= 1
        self._sent(self._token, self._image)

    def download(self) -> None:
        """Receive the whole file."""
        with self._asked("GET", self._file_url, None, {"Authorization": f"Bearer {self._file_token}"}) as answer:
            received = 0
            while count := answer.readinto(self._held):
                received += count
        if (answer.status, received) != (200, FILE_BYTES):
            raise RuntimeError(f"a download was {answer.status} with {received} bytes")

    def _sent(self, token: str, content: bytes) -> str:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
        return str(self._json("/v1/media", content, headers)["url"])

    def _token_of(self, user_id: str) -> str:
        return str(self._json("/v1/tokens", json.dumps({"user_id": user_id}).encode(), {})["token"])

    def _json(self, path: str, content: bytes, headers: dict[str, str]) -> dict[str, Any]:
        with self._asked("POST", path, content, headers) as answer:
            body = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"POST {path} was {answer.status}: {body[:500]!r}")
        result: dict[str, Any] = json.loads(body)
        return result

    @contextmanager
    def _asked(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, content, headers)
            yield connection.getresponse()
        finally:
            connection.close()


def noise_png(side: int) -> bytes:
    """A square PNG that cannot be compressed."""
    held = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(held, "PNG", compress_level=1)
    return held.getvalue()


@dataclass
class Growth:
    """The resident memory of a process before a time, and its highest value in it, sampled every SAMPLE_S."""

    before_bytes: int
    most_bytes: int = 0

    @property
    def mib(self) -> float:
        """How much it grew at most."""
        return round((self.most_bytes - self.before_bytes) / 2**20, 2)


@contextmanager
def watched(pid: int) -> Iterator[Growth]:
    """Sample the memory of a process in a thread."""
    growth, ending = Growth(usage(pid).resident_bytes), threading.Event()

    def sample() -> None:
        while not ending.wait(SAMPLE_S):
            growth.most_bytes = max(growth.most_bytes, usage(pid).resident_bytes)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield growth
    finally:
        ending.set()
        thread.join()


def alone(stack: Stack, transfer: Callable[[], None]) -> dict[str, Any]:
    """The memory of the gateway while nothing else is going on. The first transfer also loads code."""
    growths = []
    for _ in range(PAIRS):
        with watched(pid_of(stack, "gateway-0")) as growth:
            transfer()
        growths.append(growth.mib)
        time.sleep(1)
    return {"growth_mib": growths, "growth_mib_most": max(growths)}


def pairs(stack: Stack, generator: GeneratorProcess, transfer: Callable[[], None]) -> dict[str, Any]:
    """Measure steps without and with transfers in turn."""
    quiet, busy = [], []
    for _ in range(PAIRS):
        quiet.append(step(stack, generator, None))
        busy.append(step(stack, generator, transfer))
    ratios = {
        key: [round(with_[key] / without[key], 2) for without, with_ in zip(quiet, busy, strict=True)]
        for key in ("ack_p50_ms", "ack_p99_ms")
    }
    p99_ratio = statistics.median(ratios["ack_p99_ms"])
    growth = statistics.median(one["growth_mib"] for one in busy)
    return {
        "quiet": quiet,
        "busy": busy,
        "ack_p50_ratios": ratios["ack_p50_ms"],
        "ack_p99_ratios": ratios["ack_p99_ms"],
        "ack_p50_ratio": statistics.median(ratios["ack_p50_ms"]),
        "ack_p99_ratio": p99_ratio,
        "growth_mib": growth,
        "is_met": {"ack_p99_ratio": p99_ratio <= MOST_P99_RATIO, "growth_mib": growth <= MOST_GROWTH_MIB},
    }


@dataclass
class Loop:
    """Transfers one after the other, in a thread."""

    transfer: Callable[[], None]
    ending: threading.Event = field(default_factory=threading.Event)
    took_s: list[float] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Until `ending` is set, or a transfer fails."""
        try:
            while not self.ending.is_set():
                begun = time.perf_counter()
                self.transfer()
                self.took_s.append(time.perf_counter() - begun)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            self.failures.append(error)


def step(stack: Stack, generator: GeneratorProcess, transfer: Callable[[], None] | None) -> dict[str, Any]:
    """One step of messages, and of transfers at the same time. Raises what a transfer raises."""
    pid = pid_of(stack, "gateway-0")
    before, children_before_s, began = usages(stack, generator), children_cpu_s(pid), time.monotonic()
    loop = Loop(transfer or (lambda: time.sleep(0.1)))
    thread = threading.Thread(target=loop.run)
    with watched(pid) as growth:
        thread.start()
        try:
            result = generator.do("run", rate=RATE, seconds=STEP_S)
        finally:
            loop.ending.set()
            thread.join()
    if loop.failures:
        raise loop.failures[0]
    took_s, after = time.monotonic() - began, usages(stack, generator)
    result["growth_mib"] = growth.mib
    result["cores"] = {one: round((after[one].cpu_s - before[one].cpu_s) / took_s, 2) for one in after}
    if transfer is not None:
        result["transfers"] = len(loop.took_s)
        result["transfer_p50_ms"] = percentile(loop.took_s, 0.5)
        result["cores"]["images"] = round((children_cpu_s(pid) - children_before_s) / took_s, 2)
    say("busy" if transfer else "quiet", result)
    return result


if __name__ == "__main__":
    main()
