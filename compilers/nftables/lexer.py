"""nft text to tokens, one at a time, with defines put in, comments left out and positions kept.

Lazy, so that the reader can take a large `elements = { … }` as one slice. Knows no grammar.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

TOKEN: Final = re.compile(
    r"""(?P<blank>(?:[ \t\r]+|\#[^\n]*)+)
      | (?P<newline>\n)
      | (?P<string>"[^"\n]*")
      | (?P<variable>\$[A-Za-z][A-Za-z0-9_]*)
      | (?P<punctuation>!=|[{}(),;=@])
      | (?P<word>::[A-Za-z0-9_.:/*-]*|[A-Za-z0-9_][A-Za-z0-9_.:/*-]*)
      | (?P<mark>[:.])""",
    re.VERBOSE,
)


class ReadError(ValueError):
    """Text outside the part of nft's language that this project reads.

    `line` and `column` count from 1; `chain` is the chain being read, if any.
    """

    def __init__(self, reason: str, line: int, column: int, chain: str | None = None) -> None:
        """`reason` completes "LINE:COLUMN: REASON"."""
        super().__init__(f"{line}:{column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column
        self.chain = chain

    def __reduce__(self) -> tuple[type[Self], tuple[str, int, int, str | None]]:
        """Raised in a process of its own, it crosses to the one that waits for it: by default only the text would."""
        return type(self), (self.reason, self.line, self.column, self.chain)


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is word, string (without its quotes), punctuation, newline or end; `start` is an offset."""

    kind: str
    text: str
    start: int


class Lexer:
    """Reads tokens of one text. `defines` maps NAME to the tokens that `$NAME` stands for."""

    def __init__(self, text: str) -> None:
        """Start at the first token of `text`."""
        self.text = text
        self.offset = 0
        self.chain: str | None = None
        self.defines: dict[str, tuple[Token, ...]] = {}
        self._pending: list[Token] = []

    def error(self, reason: str, at: int | None = None) -> ReadError:
        """Return a ReadError for offset `at`, or for where the lexer stands."""
        offset = self.offset if at is None else at
        line_start = self.text.rfind("\n", 0, offset) + 1
        return ReadError(reason, self.text.count("\n", 0, offset) + 1, offset - line_start + 1, self.chain)

    def peek(self) -> Token:
        """Return the next token and leave it there."""
        if not self._pending:
            self._pending = self._scan()
        return self._pending[0]

    def next(self) -> Token:
        """Return the next token and go past it."""
        token = self.peek()
        if token.kind != "end":
            self._pending.pop(0)
        return token

    def slice_until(self, stop: str) -> tuple[str, int]:
        """Return the raw text up to the next `stop`, which is passed, and the offset at which it starts."""
        if self._pending:
            raise self.error("a define cannot stand here")
        start = self.offset
        end = self.text.find(stop, start)
        if end < 0:
            raise self.error(f"{stop} is missing")
        self.offset = end + len(stop)
        return self.text[start:end], start

    def rest_of_line(self, start: int) -> str:
        """Return the text from offset `start` to the end of its line, and stand there."""
        end = self.text.find("\n", start)
        self.offset = len(self.text) if end < 0 else end
        self._pending = []
        return self.text[start : self.offset].strip()

    def _scan(self) -> list[Token]:
        while True:
            start = self.offset
            if start >= len(self.text):
                return [Token("end", "end of text", start)]
            found = TOKEN.match(self.text, start)
            if found is None:
                raise self.error(f"{self.text[start]!r} is not read here")
            self.offset = found.end()
            kind, text = str(found.lastgroup), found.group()
            if kind == "blank":
                continue
            if kind == "variable":
                return self._defined(text[1:], start)
            if kind == "string":
                return [Token("string", text[1:-1], start)]
            return [Token("punctuation" if kind == "mark" else kind, text, start)]

    def _defined(self, name: str, start: int) -> list[Token]:
        if name not in self.defines:
            raise self.error(f"${name} is not defined", start)
        return [Token(one.kind, one.text, start) for one in self.defines[name]]
