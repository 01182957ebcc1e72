"""The table of cases for promtool is complete."""

import pytest

from deploy.monitoring.rule_files import rules
from tests.alert_cases import CASES

ALERTS = [rule.name for rule in rules() if rule.is_alert]
# It fires always, so it has no series with which it does not.
ALWAYS = "TidingsWatchdog"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_cases(alert: str) -> None:
    kinds = {case.kind for case in CASES if case.alert == alert}
    assert kinds == ({"fires"} if alert == ALWAYS else {"fires", "normal", "restart"})


def test_every_case_is_of_an_alert() -> None:
    assert {case.alert for case in CASES} == set(ALERTS)
