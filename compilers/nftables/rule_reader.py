"""One rule of nft text to a Rule. The grammar of chains and tables is the reader's.

One function per first word; what is not in the table of words is outside the language.
"""

from collections.abc import Callable, Mapping
from typing import Final

from compilers.nftables.expressions import (
    AddToSet,
    AnonymousSet,
    Comparison,
    Counter,
    Expression,
    Limit,
    LimitMode,
    Log,
    Match,
    Operand,
    Reset,
    SetReference,
    States,
    Verdict,
    VerdictKind,
    VerdictMap,
    distinct,
)
from compilers.nftables.lexer import Lexer, Token
from compilers.nftables.table import Rule
from compilers.nftables.values import operand_of, scalar_of
from compilers.nftables.words import FIELD_TYPES, ConntrackState, Field, InvalidNftError, KeyType, Scalar

# Field phrases by their first word. None is the start of another, so a word is a phrase's last when no phrase goes on.
PHRASES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    first: tuple(tuple(one.value.split()) for one in Field if one.value.split()[0] == first)
    for first in {one.value.split()[0] for one in Field}
}
ENDS: Final = frozenset({"newline", "end"})


def expect(lexer: Lexer, text: str) -> Token:
    """Go past the token `text`, or raise ReadError."""
    token = lexer.next()
    if token.text != text or token.kind == "string":
        raise lexer.error(f"expected {text!r}, found {token.text!r}", token.start)
    return token


def word(lexer: Lexer, what: str) -> Token:
    """Go past a word, or raise ReadError saying that `what` was expected."""
    token = lexer.next()
    if token.kind != "word":
        raise lexer.error(f"expected {what}, found {token.text!r}", token.start)
    return token


def numeral(lexer: Lexer, what: str) -> int:
    """Go past a decimal number, or raise ReadError."""
    token = word(lexer, what)
    if not (token.text.isascii() and token.text.isdigit()):
        raise lexer.error(f"expected {what}, found {token.text!r}", token.start)
    return int(token.text)


def accepts(lexer: Lexer, text: str) -> bool:
    """Go past the token `text` if it is next, and tell whether it was."""
    token = lexer.peek()
    if token.text == text and token.kind in ("word", "punctuation"):
        lexer.next()
        return True
    return False


def _field(lexer: Lexer) -> Field:
    first = word(lexer, "a field")
    if first.text not in PHRASES:
        raise lexer.error(f"{first.text!r} is not in the language this project uses", first.start)
    read: tuple[str, ...] = (first.text,)
    while any(phrase[: len(read)] == read != phrase for phrase in PHRASES[first.text]):
        read = (*read, word(lexer, "a field").text)
    text = " ".join(read)
    try:
        return Field(text)
    except ValueError:
        raise lexer.error(f"{text!r} is not a field this project uses", first.start) from None


def _fields(lexer: Lexer) -> tuple[Field, ...]:
    fields = [_field(lexer)]
    while accepts(lexer, "."):
        fields.append(_field(lexer))
    return tuple(fields)


def _scalar_token(lexer: Lexer) -> Token:
    token = lexer.next()
    if token.kind not in ("word", "string"):
        raise lexer.error(f"expected a value, found {token.text!r}", token.start)
    return token


def _braced(lexer: Lexer, key: KeyType) -> Operand:
    start = expect(lexer, "{").start
    values: list[Scalar] = []
    while True:
        token = _scalar_token(lexer)
        try:
            values.append(scalar_of(key, token.text))
        except ValueError as error:
            raise lexer.error(str(error), token.start) from None
        if not accepts(lexer, ","):
            break
    expect(lexer, "}")
    try:
        kept = distinct(values)
        # nft lists a set of one as the value alone.
        return kept[0] if len(kept) == 1 else AnonymousSet(kept)
    except ValueError as error:
        raise lexer.error(str(error), start) from None


def _states(lexer: Lexer) -> States:
    states: set[ConntrackState] = set()
    while True:
        token = word(lexer, "a conntrack state")
        try:
            states.add(ConntrackState(token.text))
        except ValueError:
            raise lexer.error(f"{token.text!r} is not a conntrack state", token.start) from None
        if not accepts(lexer, ","):
            return States(frozenset(states))


def _operand(lexer: Lexer, key: KeyType) -> Operand:
    if accepts(lexer, "@"):
        return SetReference(word(lexer, "the name of a set").text)
    if key is KeyType.CONNTRACK:
        return _states(lexer)
    if lexer.peek().text == "{":
        return _braced(lexer, key)
    token = _scalar_token(lexer)
    try:
        return operand_of(key, token.text)
    except ValueError as error:
        raise lexer.error(str(error), token.start) from None


def _match(lexer: Lexer) -> Expression:
    fields = _fields(lexer)
    if accepts(lexer, "vmap"):
        expect(lexer, "@")
        return VerdictMap(fields, word(lexer, "the name of a map").text)
    comparison = Comparison.NOT_EQUAL if accepts(lexer, "!=") else Comparison.EQUAL
    return Match(fields, _operand(lexer, FIELD_TYPES[fields[0]]), comparison)


def verdict(lexer: Lexer) -> Verdict:
    """Read `accept`, `jump CHAIN`, …."""
    token = word(lexer, "a verdict")
    try:
        kind = VerdictKind(token.text)
    except ValueError:
        raise lexer.error(f"{token.text!r} is not a verdict", token.start) from None
    if kind in (VerdictKind.JUMP, VerdictKind.GOTO):
        return Verdict(kind, word(lexer, "the name of a chain").text)
    return Verdict(kind)


def _counter(lexer: Lexer) -> Expression:
    expect(lexer, "counter")
    if accepts(lexer, "packets"):
        numeral(lexer, "a number of packets")
        expect(lexer, "bytes")
        numeral(lexer, "a number of bytes")
    return Counter()


def _limit(lexer: Lexer) -> Expression:
    expect(lexer, "limit")
    expect(lexer, "rate")
    mode = LimitMode.OVER if accepts(lexer, "over") else LimitMode.WITHIN
    token = word(lexer, "a rate")
    rate, slash, unit = token.text.partition("/")
    if not rate.isdigit() or not slash or unit != "second":
        raise lexer.error(f"expected N/second, found {token.text!r}", token.start)
    burst = 5
    if accepts(lexer, "burst"):
        burst = numeral(lexer, "a number of packets")
        expect(lexer, "packets")
    return Limit(int(rate), mode, burst)


def _log(lexer: Lexer) -> Expression:
    expect(lexer, "log")
    expect(lexer, "prefix")
    token = lexer.next()
    if token.kind != "string":
        raise lexer.error(f"expected a quoted prefix, found {token.text!r}", token.start)
    expect(lexer, "group")
    group = numeral(lexer, "a log group")
    expect(lexer, "snaplen")
    return Log(token.text, group, numeral(lexer, "a number of bytes"))


def _reject(lexer: Lexer) -> Expression:
    for text in ("reject", "with", "tcp", "reset"):
        expect(lexer, text)
    return Reset()


def _add(lexer: Lexer) -> Expression:
    expect(lexer, "add")
    expect(lexer, "@")
    name = word(lexer, "the name of a set").text
    expect(lexer, "{")
    fields = _fields(lexer)
    expect(lexer, "}")
    return AddToSet(name, fields)


STATEMENTS: Final[Mapping[str, Callable[[Lexer], Expression]]] = {
    "counter": _counter,
    "limit": _limit,
    "log": _log,
    "reject": _reject,
    "add": _add,
    **{one.value: verdict for one in VerdictKind},
}


def read_rule(lexer: Lexer) -> Rule:
    """Read one rule up to the end of its line, which stays. Raises ReadError."""
    start = lexer.peek().start
    expressions: list[Expression] = []
    try:
        while lexer.peek().kind not in ENDS and lexer.peek().text not in (";", "}"):
            start = lexer.peek().start
            expressions.append(STATEMENTS.get(lexer.peek().text, _match)(lexer))
        return Rule(tuple(expressions))
    except InvalidNftError as error:
        raise lexer.error(str(error), start) from None
