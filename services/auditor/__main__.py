"""`python -m services.auditor`: pass after pass of the audit, with its metrics on the admin port.

`tidings audit` makes one pass with a progress bar.
"""

from tidings.runtime.interrupts import end_at_signals

# A rolling restart of the servers takes a minute. After this time the process ends, and is started again.
SERVERS_S = 120.0


def main() -> None:
    """Entry point."""
    # Called before the imports, which take a second or more: process 1 of a container has no signal handlers.
    end_at_signals(exit_code=0)
    from services.auditor.build import audited, rules_of
    from services.auditor.service import audit
    from services.auditor.settings import AuditorSettings
    from tidings.runtime.health import Health
    from tidings.runtime.main import run_job
    from tidings.runtime.start import patiently_for

    async def passes(settings: AuditorSettings, health: Health) -> None:
        async with audited(settings, patiently_for(SERVERS_S)) as found:
            health.set_ready(True)
            await audit(found.ports, found.tables, rules_of(settings.audit), settings.audit.pause_s)

    run_job("auditor", AuditorSettings, passes)


if __name__ == "__main__":
    main()
