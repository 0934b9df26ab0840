"""A terminal's line discipline: what a person types becomes lines, what is written becomes what a screen shows.

Typed characters are echoed, a backspace takes one back, ^C interrupts what runs, ^D ends the input on an
empty line; newlines go out as carriage return and newline. No more than a shell's prompt needs.
"""

from collections.abc import Callable

from ksql.base.pipes import Pipe

PROMPT = "/ # "
# A line that is longer than any shell's is cut: what is typed beyond is not kept.
LINE_BYTES_MAX = 4096

_ENTER, _ERASE, _INTERRUPT, _END = b"\r\n", b"\x7f\x08", 0x03, 0x04


class Terminal:
    """Between the pipes of somebody's terminal and a process. `lines` is what the process reads."""

    def __init__(self, typed: Pipe, screen: Pipe, interrupt: Callable[[], None]) -> None:
        self.lines = Pipe()
        self._typed, self._screen, self._interrupt = typed, screen, interrupt
        self._line = bytearray()

    async def write(self, data: bytes) -> None:
        """To the screen."""
        await self._screen.write(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    async def run(self) -> None:
        """Take what is typed until it ends."""
        try:
            while data := await self._typed.read():
                for byte in data:
                    await self._take(byte)
        finally:
            self.lines.end()

    async def _take(self, byte: int) -> None:
        if byte in _ENTER:
            await self._screen.write(b"\r\n")
            line, self._line = bytes(self._line) + b"\n", bytearray()
            await self.lines.write(line)
        elif byte in _ERASE:
            if self._line:
                self._line.pop()
                await self._screen.write(b"\b \b")
        elif byte == _INTERRUPT:
            self._line.clear()
            await self._screen.write(b"^C\r\n")
            self._interrupt()
        elif byte == _END:
            if not self._line:
                self.lines.end()
        elif len(self._line) < LINE_BYTES_MAX:
            self._line.append(byte)
            await self._screen.write(bytes((byte,)))
