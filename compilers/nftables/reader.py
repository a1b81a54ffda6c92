"""nft text to a Table: templates (with `define` and comments), and what `nft -s list table` prints.

Reads the part of the language that table.py holds; all else is a ReadError with line and column. Does no I/O.
"""

import enum

from compilers.nftables.expressions import Unreadable, Verdict
from compilers.nftables.lexer import Lexer, ReadError, Token
from compilers.nftables.rule_reader import ENDS, accepts, expect, numeral, read_rule, verdict, word
from compilers.nftables.table import (
    Chain,
    Element,
    MapDeclaration,
    NamedMap,
    NamedSet,
    Rule,
    SetDeclaration,
    SetKind,
    Table,
)
from compilers.nftables.values import element_parser, pieces, span_of
from compilers.nftables.words import Hook, InvalidNftError, KeyType, TableFamily


class Strangers(enum.Enum):
    """What to do with a rule outside the language: REFUSE it with a ReadError, or KEEP it as Unreadable.

    KEEP is for tables read from the kernel: someone else's rule must be seen, so that it can be repaired.
    """

    REFUSE = "refuse"
    KEEP = "keep"


def _skip_separators(lexer: Lexer) -> None:
    while lexer.peek().kind == "newline" or lexer.peek().text == ";":
        lexer.next()


def _end_statement(lexer: Lexer) -> None:
    token = lexer.peek()
    if token.kind not in ENDS and token.text not in (";", "}"):
        raise lexer.error(f"expected the end of the statement, found {token.text!r}", token.start)
    _skip_separators(lexer)


def _key(lexer: Lexer) -> tuple[KeyType, ...]:
    key: list[KeyType] = []
    while True:
        token = word(lexer, "a type")
        try:
            key.append(KeyType(token.text))
        except ValueError:
            raise lexer.error(f"{token.text!r} is not a type this project uses", token.start) from None
        if not accepts(lexer, "."):
            return tuple(key)


def _kind(lexer: Lexer) -> SetKind:
    start = lexer.peek().start
    flags = [word(lexer, "a flag").text]
    while accepts(lexer, ","):
        flags.append(word(lexer, "a flag").text)
    for kind in SetKind:
        if set(flags) == set(kind.value.split(",")):
            return kind
    raise lexer.error(f"flags {','.join(flags)} are not used by this project", start)


def _elements_body(lexer: Lexer) -> tuple[str, int]:
    expect(lexer, "=")
    expect(lexer, "{")
    return lexer.slice_until("}")


def _set_elements(lexer: Lexer, declaration: SetDeclaration) -> frozenset[Element]:
    body, start = _elements_body(lexer)
    if declaration.kind is SetKind.REMEMBERING:
        return frozenset()
    parse = element_parser(declaration.key, declaration.kind)
    texts = pieces(body)
    try:
        return frozenset(map(parse, texts))
    except ValueError:
        raise _bad_element(lexer, start, body, [(text, parse) for text in texts]) from None


def _bad_element(lexer: Lexer, start: int, body: str, attempts: list[tuple[str, object]]) -> ReadError:
    offset = 0
    for text, parse in attempts:
        offset = body.index(text, offset)
        try:
            if callable(parse):
                parse(text)
        except ValueError as error:
            return lexer.error(f"element {text!r}: {error}", start + offset)
        offset += len(text)
    return lexer.error("elements are not read", start)


def _map_elements(lexer: Lexer, declaration: MapDeclaration) -> dict[Element, Verdict]:
    body, start = _elements_body(lexer)
    parse = element_parser(declaration.key, SetKind.PLAIN)
    verdicts: dict[str, Verdict] = {}

    def pair(text: str) -> tuple[Element, Verdict]:
        key, _, target = text.partition(" : ")
        if target not in verdicts:
            inner = Lexer(target)
            verdicts[target] = verdict(inner)
            _end_statement(inner)
        return parse(key.rstrip()), verdicts[target]

    texts = pieces(body)
    try:
        return dict(map(pair, texts))
    except ValueError:
        raise _bad_element(lexer, start, body, [(text, pair) for text in texts]) from None


def _read_set(lexer: Lexer) -> NamedSet:
    name = word(lexer, "the name of a set").text
    expect(lexer, "{")
    _skip_separators(lexer)
    key: tuple[KeyType, ...] = ()
    kind, size, timeout = SetKind.PLAIN, None, None
    elements: frozenset[Element] = frozenset()
    while not accepts(lexer, "}"):
        token = word(lexer, "a statement of a set")
        match token.text:
            case "type":
                key = _key(lexer)
            case "size":
                size = numeral(lexer, "a number of elements")
            case "flags":
                kind = _kind(lexer)
            case "timeout":
                timeout = _span(lexer)
            case "elements":
                elements = _set_elements(lexer, SetDeclaration(name, key, kind, size, timeout))
            case _:
                raise lexer.error(f"{token.text!r} of a set is not used by this project", token.start)
        _end_statement(lexer)
    return NamedSet(SetDeclaration(name, key, kind, size, timeout), elements)


def _span(lexer: Lexer) -> int:
    token = word(lexer, "a time")
    try:
        return span_of(token.text)
    except ValueError as error:
        raise lexer.error(str(error), token.start) from None


def _read_map(lexer: Lexer) -> NamedMap:
    name = word(lexer, "the name of a map").text
    expect(lexer, "{")
    _skip_separators(lexer)
    expect(lexer, "type")
    key = _key(lexer)
    expect(lexer, ":")
    expect(lexer, "verdict")
    _end_statement(lexer)
    declaration = MapDeclaration(name, key)
    elements: dict[Element, Verdict] = {}
    if accepts(lexer, "elements"):
        elements = _map_elements(lexer, declaration)
        _end_statement(lexer)
    expect(lexer, "}")
    return NamedMap(declaration, elements)


def _hook(lexer: Lexer) -> Hook | None:
    if lexer.peek().text != "type":
        return None
    for text in ("type", "filter", "hook"):
        expect(lexer, text)
    token = word(lexer, "a hook")
    try:
        hook = Hook(token.text)
    except ValueError:
        raise lexer.error(f"hook {token.text!r} is not used by this project", token.start) from None
    for text in ("priority", "filter", ";", "policy", "accept"):
        expect(lexer, text)
    _end_statement(lexer)
    return hook


def _rule(lexer: Lexer, strangers: Strangers) -> Rule:
    first = lexer.peek()
    try:
        rule = read_rule(lexer)
        token = lexer.peek()
        if token.kind not in ENDS and token.text not in (";", "}"):
            raise lexer.error(f"{token.text!r} is not in the language this project uses", token.start)
    except ReadError:
        # Where the text ends, a chain that has not is no rule of anybody's.
        if strangers is Strangers.REFUSE or first.kind == "end":
            raise
        return Rule((Unreadable(lexer.rest_of_line(first.start)),))
    return rule


def _read_chain(lexer: Lexer, strangers: Strangers) -> Chain:
    lexer.chain = name = word(lexer, "the name of a chain").text
    expect(lexer, "{")
    _skip_separators(lexer)
    hook = _hook(lexer)
    rules: list[Rule] = []
    while not accepts(lexer, "}"):
        rules.append(_rule(lexer, strangers))
        _end_statement(lexer)
    lexer.chain = None
    return Chain(name, hook, tuple(rules))


def _read_define(lexer: Lexer) -> None:
    name = word(lexer, "the name of a define").text
    expect(lexer, "=")
    tokens: list[Token] = []
    while lexer.peek().kind not in ENDS:
        tokens.append(lexer.next())
    if not tokens:
        raise lexer.error(f"define {name} is empty")
    lexer.defines.setdefault(name, tuple(tokens))


def _read_table(lexer: Lexer, strangers: Strangers) -> Table:
    token = word(lexer, "an address family")
    try:
        family = TableFamily(token.text)
    except ValueError:
        raise lexer.error(f"family {token.text!r} is not used by this project", token.start) from None
    name = word(lexer, "the name of a table").text
    expect(lexer, "{")
    _skip_separators(lexer)
    sets: list[NamedSet] = []
    maps: list[NamedMap] = []
    chains: list[Chain] = []
    while not accepts(lexer, "}"):
        token = word(lexer, "set, map or chain")
        match token.text:
            case "set":
                sets.append(_read_set(lexer))
            case "map":
                maps.append(_read_map(lexer))
            case "chain":
                chains.append(_read_chain(lexer, strangers))
            case _:
                raise lexer.error(f"{token.text!r} in a table is not used by this project", token.start)
        _end_statement(lexer)
    return Table(family, name, tuple(sets), tuple(maps), tuple(chains))


def read(text: str, *, strangers: Strangers = Strangers.REFUSE) -> Table:
    """Return the one table that `text` declares. Raises ReadError.

    The first `define` of a name holds, so that settings can be put before a template's own defaults.
    """
    lexer = Lexer(text)
    try:
        _skip_separators(lexer)
        while accepts(lexer, "define"):
            _read_define(lexer)
            _skip_separators(lexer)
        expect(lexer, "table")
        table = _read_table(lexer, strangers)
        _skip_separators(lexer)
        if lexer.peek().kind != "end":
            raise lexer.error("expected one table and nothing behind it", lexer.peek().start)
    except InvalidNftError as error:
        raise lexer.error(str(error)) from None
    return table
