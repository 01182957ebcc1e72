"""The two panes in a terminal, on prompt_toolkit."""

from collections.abc import Callable

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import HSplit, Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from cli.chat_view import ChatView, Line

SCROLL_LINES = 10
_STYLE = Style.from_dict(
    {"time": "ansibrightblack", "own": "ansicyan bold", "peer": "ansigreen bold", "ticks": "ansibrightblack"}
)


class ChatScreen:
    """Messages on top, a line about the connection, the input below. `say` is called with each line entered."""

    def __init__(self, view: ChatView, title: str, say: Callable[[str], None]) -> None:
        self.link = "ready"
        self._view = view
        self._title = title
        self._say = say
        self._error: BaseException | None = None
        self._lines = 0
        self._scrolled = 0  # lines above the newest one
        messages = FormattedTextControl(self._messages, get_cursor_position=self._bottom, show_cursor=False)
        self._input = TextArea(prompt="> ", multiline=False, accept_handler=self._enter, history=None)
        rows = HSplit(
            [
                Window(messages, wrap_lines=True),
                Window(FormattedTextControl(self._status), height=1, style="reverse"),
                self._input,
            ]
        )
        self._app: Application[None] = Application(
            layout=Layout(rows, focused_element=self._input),
            key_bindings=self._keys(),
            style=_STYLE,
            full_screen=True,
        )

    async def run(self) -> None:
        """Run until the user leaves. Raises the error of `stop`, also if it was called before."""
        if self._error is not None:
            raise self._error
        await self._app.run_async()

    def refresh(self) -> None:
        """Draw the changed view."""
        self._app.invalidate()

    def stop(self, error: BaseException) -> None:
        """Leave because of an error."""
        self._error = self._error or error
        if self._app.is_running and not self._app.is_done:
            self._app.exit(exception=error)

    def _messages(self) -> StyleAndTextTuples:
        """All lines except those below the scroll position, because the window shows the end of the text."""
        lines = list(self._view.lines())
        self._scrolled = max(0, min(self._scrolled, len(lines) - 1))
        shown = lines[: len(lines) - self._scrolled]
        self._lines = len(shown)
        text: StyleAndTextTuples = []
        for number, line in enumerate(shown):
            text.extend(_styled(line, "\n" if number else ""))
        return text

    def _bottom(self) -> Point:
        """The cursor on the last line, because prompt_toolkit scrolls a window so that its cursor is visible."""
        return Point(0, max(0, self._lines - 1))

    def _status(self) -> str:
        connection = "" if self.link == "ready" else f" · {self.link}"
        place = f" · {self._scrolled} lines up" if self._scrolled else ""
        return f" {self._title}{connection}{place} · Ctrl-C leaves"

    def _enter(self, buffer: Buffer) -> bool:
        text = buffer.text.strip()
        if text:
            self._scrolled = 0
            self._say(text)
        return False  # the line is cleared

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("c-d")
        def leave(event: KeyPressEvent) -> None:
            event.app.exit()

        @keys.add("pageup")
        def up(event: KeyPressEvent) -> None:
            self._scrolled += SCROLL_LINES

        @keys.add("pagedown")
        def down(event: KeyPressEvent) -> None:
            self._scrolled = max(0, self._scrolled - SCROLL_LINES)

        return keys


def _styled(line: Line, before: str) -> StyleAndTextTuples:
    return [
        ("class:time", f"{before}{line.time} "),
        ("class:own" if line.is_own else "class:peer", line.sender),
        ("", f"  {line.text}"),
        ("class:ticks", f"  {line.ticks}" if line.ticks else ""),
    ]
