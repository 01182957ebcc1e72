"""`python -m services.auditor`: pass after pass of the audit, with its metrics on the admin port.

`tidings audit` makes one pass with a progress bar.
"""

from tidings.runtime.interrupts import end_at_signals


def main() -> None:
    """Entry point."""
    # Called before the imports, which take a second or more: process 1 of a container has no signal handlers.
    end_at_signals(exit_code=0)
    import asyncio

    from services.auditor.build import audited, rules_of
    from services.auditor.service import audit
    from services.auditor.settings import AuditorSettings
    from tidings import metric_series
    from tidings.errors import ConfigurationError
    from tidings.runtime.health import Health, serve_admin
    from tidings.runtime.lifecycle import refuse_start, run_service
    from tidings.runtime.reading_settings import read_settings
    from tidings.runtime.start import patiently_for

    try:
        settings = read_settings(AuditorSettings)
    except ConfigurationError as error:
        refuse_start("auditor", error)
        return
    metric_series.begin("auditor")

    async def passes(health: Health) -> None:
        async with audited(settings, patiently_for(SERVERS_S)) as found:
            health.set_ready(True)
            await audit(found.ports, found.tables, rules_of(settings.audit), settings.audit.pause_s)

    async def until(stopping: asyncio.Event) -> None:
        health, process = Health(), settings.process
        async with serve_admin(process.admin_host, process.admin_port, health):
            auditing = asyncio.create_task(passes(health))
            waiting = asyncio.create_task(stopping.wait())
            await asyncio.wait((auditing, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not auditing.done():
                auditing.cancel()
                await asyncio.gather(auditing, return_exceptions=True)
                return
            auditing.result()

    run_service("auditor", settings.process, until)


# A rolling restart of the servers takes a minute. After this time the process ends, and is started again.
SERVERS_S = 120.0

if __name__ == "__main__":
    main()
