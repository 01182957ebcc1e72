"""The metrics of processes that have gone through most of this tier."""

from deploy.local.stack import Stack, split
from tests.e2e.scraping import scraped

# After a whole run a gateway has 1,100, and the others 460 at most.
MOST_SERIES = {"gateway": 3_000, "persister": 1_000, "fanout": 1_000, "receipts": 1_000}


async def test_series_stay_few_after_a_whole_run(stack: Stack, figures: list[str]) -> None:
    """A label with ids of users, sessions or connections would make a series of each."""
    counts = {name: len(scrape.samples) for name, scrape in (await scraped(stack)).items()}
    figures.append(f"series by process: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    assert all(count <= MOST_SERIES[split(name)[0]] for name, count in counts.items())


async def test_every_process_says_what_it_runs(stack: Stack) -> None:
    for scrape in (await scraped(stack)).values():
        assert scrape.values("tidings_build_info", rules="1", epoch="0") == [1.0]
