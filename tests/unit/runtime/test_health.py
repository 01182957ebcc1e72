"""The admin port."""

import asyncio
import threading

import httpx2
import pytest

from tidings.runtime import health
from tidings.runtime.health import Health, serve_admin


async def test_a_scrape_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    writing, may_end = threading.Event(), threading.Event()

    def slow(_registry: object) -> bytes:
        writing.set()
        assert may_end.wait(30)
        return b"tidings_x 1\n"

    monkeypatch.setattr(health, "choose_encoder", lambda _accept: (slow, "text/plain; version=0.0.4"))
    async with serve_admin("127.0.0.1", 0, Health()) as port, httpx2.AsyncClient(timeout=30) as http:
        scrape = asyncio.create_task(http.get(f"http://127.0.0.1:{port}/metrics"))
        assert await asyncio.to_thread(writing.wait, 30)
        answer = await http.get(f"http://127.0.0.1:{port}/healthz")
        assert answer.status_code == 200
        assert not scrape.done()
        may_end.set()
        assert (await scrape).text == "tidings_x 1\n"


async def test_metrics_are_in_the_format_that_prometheus_asks_for() -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with serve_admin("127.0.0.1", 0, Health()) as port, httpx2.AsyncClient(timeout=30) as http:
        plain = await http.get(f"http://127.0.0.1:{port}/metrics")
        open_metrics = await http.get(f"http://127.0.0.1:{port}/metrics", headers=accept)
    assert plain.headers["content-type"].startswith("text/plain")
    assert "# TYPE python_info gauge" in plain.text
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
