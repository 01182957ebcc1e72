"""Every log line of the services as a row: its text, level, logger and fields, read from the code."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.pages import ROOT, table

PACKAGES = ("services", "tidings")
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_LOGS = {"log", "_log"}


@dataclass(frozen=True, slots=True, order=True)
class LogEvent:
    """One kind of line. `fields`: its own, besides those that each line has."""

    logger: str
    text: str
    level: str
    fields: tuple[str, ...]


def events(root: Path = ROOT) -> list[LogEvent]:
    """All of them, by logger and text. ValueError names the place of a line whose text is not in the code."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return sorted({event for path in paths for event in _events_of(path)})


def events_table() -> str:
    """The table of docs/OPERATIONS.md."""
    rows = [
        (
            f"`{_unquoted(one.text)}`",
            one.level,
            f"`{one.logger}`",
            ", ".join(f"`{name}`" for name in one.fields) or "none",
        )
        for one in events()
    ]
    return table(("line", "level", "logger", "fields"), rows)


def _unquoted(text: str) -> str:
    """Without the signs that would end a piece of code on the page."""
    return text.replace("`", "'")


def _events_of(path: Path) -> Iterator[LogEvent]:
    tree = ast.parse(path.read_text())
    loggers = {*_loggers(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=method, value=log), args=[text, *_]) if (
                method in LEVELS and _name(log) in _LOGS
            ):
                if len(loggers) != 1:
                    raise ValueError(f"{path}:{node.lineno}: the module has no single logger of tidings.logging")
                (name,) = loggers
                yield LogEvent(name, _text(text, path), LEVELS[method], tuple(_fields(node.keywords)))


def _loggers(tree: ast.AST) -> Iterator[str]:
    """The names of the loggers of a module."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="logger") | ast.Attribute(attr="logger"), args=[name]):
                yield _text(name, Path())


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _text(node: ast.expr, path: Path) -> str:
    """A literal text. In place of a value it has the value's name in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_part(part, path) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, path) + _text(right, path)
    raise ValueError(f"{path}:{node.lineno}: the text of a log line is not written here")


def _part(node: ast.expr, path: Path) -> str:
    match node:
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value).strip("_").lower().rpartition(".")[2] + "}"
    return _text(node, path)


def _fields(keywords: Iterable[ast.keyword]) -> Iterator[str]:
    for one in keywords:
        if one.arg is not None:
            yield one.arg
        else:
            raise ValueError(f"line {one.value.lineno}: the fields of a log line are not written here")
