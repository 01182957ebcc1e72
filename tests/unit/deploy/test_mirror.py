"""Unit tests mirror the code: a module that decides something has a test file of its name."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "tests/unit"
ROOTS = (ROOT / "services", ROOT / "tidings/cold", ROOT / "tidings/runtime")
# Entry points and wiring: they build parts, or read the environment, and tests of every tier run them.
WIRING = {"__init__", "__main__", "build", "main", "service", "settings"}
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match, ast.comprehension, ast.BoolOp)
# A module on the left is tested as a part of what its test on the right is about.
TESTED_ELSEWHERE = {
    "services/fanout/expand_worker": "unit/fanout/test_group_fanout",
    "services/fanout/presence_reader": "simulation/scenarios/test_fanout",
    "services/gateway/connections/link": "integration/test_gateway_websocket",
    "services/gateway/http/cors": "unit/gateway/rest/test_edges",
    "services/gateway/http/h11_protocol": "integration/test_gateway_http",
    "services/gateway/http/handshake": "integration/test_gateway_websocket",
    "services/gateway/http/headers": "unit/gateway/rest/test_edges",
    "services/gateway/http/problems": "unit/gateway/rest/test_edges",
    "services/gateway/http/server": "integration/test_gateway_draining",
    "services/gateway/media/image_parts": "unit/gateway/media/test_image_header",
    "services/gateway/protocol/answers": "unit/gateway/protocol/test_connection",
    "services/gateway/protocol/json_values": "unit/gateway/protocol/test_requests",
    "services/gateway/push/reader": "simulation/scenarios/test_gateway",
    "services/gateway/rest/app": "unit/gateway/rest/test_edges",
    "services/gateway/rest/authenticator": "unit/gateway/rest/test_any_call",
    "services/gateway/rest/blocks": "unit/gateway/rest/test_documented_answers",
    "services/gateway/rest/client_msg_ids": "unit/gateway/rest/test_groups",
    "services/gateway/rest/messages": "unit/gateway/test_inputs_of_clients",
    "services/gateway/rest/models": "unit/gateway/rest/test_documented_answers",
    "services/gateway/rest/openapi": "unit/gateway/rest/test_routes",
    "services/gateway/rest/sessions": "unit/gateway/reads/test_added_again",
    "services/gateway/rest/tokens": "unit/gateway/rest/test_any_call",
    "services/gateway/rest/wire": "unit/gateway/rest/test_any_call",
    "services/gateway/submit/command_calls": "unit/gateway/rest/test_groups",
    "services/gateway/submit/submitter": "integration/test_gateway_rest",
    "services/persister/effects": "simulation/scenarios/test_persister",
    "services/persister/worker": "simulation/scenarios/test_persister",
    "services/receipts/group_receipts_loader": "unit/receipts/test_groups",
    "services/receipts/worker": "simulation/scenarios/test_receipts",
    "tidings/cold/listing": "unit/cold/test_mover",
    "tidings/runtime/dead_letters": "simulation/scenarios/test_unreadable_records",
    "tidings/runtime/intake": "unit/runtime/test_worker",
    "tidings/runtime/interrupts": "integration/test_start_and_stop",
    "tidings/runtime/lanes": "unit/runtime/test_worker",
    "tidings/runtime/listeners": "unit/runtime/test_start",
}


def decides(path: Path) -> bool:
    """Whether a function of the module has a branch or a loop."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return any(isinstance(node, BRANCHES) for function in functions for node in ast.walk(function))


def unit_test_of(path: Path) -> Path:
    """services/gateway/reads/inbox.py: tests/unit/gateway/reads/test_inbox.py."""
    package = path.parent.relative_to(ROOT).parts[1:]
    return UNIT.joinpath(*package, f"test_{path.stem}.py")


def untested_modules() -> set[str]:
    paths = [path for root in ROOTS for path in root.rglob("*.py") if path.stem not in WIRING]
    untested = [path for path in paths if decides(path) and not unit_test_of(path).exists()]
    return {str(path.relative_to(ROOT).with_suffix("")) for path in untested}


def test_every_module_that_decides_has_a_unit_test_of_its_name() -> None:
    assert untested_modules() == TESTED_ELSEWHERE.keys()


def test_named_tests_of_other_modules_exist() -> None:
    missing = {test for test in TESTED_ELSEWHERE.values() if not (ROOT / "tests" / f"{test}.py").exists()}
    assert missing == set()
