"""Valid input with a few changes: most of it stays legal, so that the changes reach far behind the first check.

Knows bytes, texts and trees of JSON. Knows nothing of what they mean.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st

MOST_CHANGES: Final = 4

JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def changed_bytes(draw: st.DrawFn, valid: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of these with bytes put in, left out, turned, repeated or cut off; `words` are put in often."""
    content = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, MOST_CHANGES))):
        at = draw(st.integers(0, len(content)))
        gone = draw(st.sampled_from((0, 0, 1, 2, 4, 16)))
        put = draw(st.binary(max_size=4) | st.sampled_from((b"\0", b"\xff" * 4, *words)))
        match draw(st.sampled_from(("put", "put", "turn", "repeat", "cut"))):
            case "put":
                content = content[:at] + put + content[at + gone :]
            case "turn" if at < len(content):
                turned = content[at] ^ 1 << draw(st.integers(0, 7))
                content = content[:at] + bytes((turned,)) + content[at + 1 :]
            case "repeat":
                content = content[:at] + content[at : at + 64] + content[at:]
            case _:
                content = content[:at]
    return content


def changed_text(valid: Sequence[str], words: Sequence[str] = ()) -> st.SearchStrategy[str]:
    """The same of texts; what is no UTF-8 any more stands there as surrogateescape leaves it."""
    changed = changed_bytes([text.encode() for text in valid], [word.encode() for word in words])
    return changed.map(lambda content: content.decode("utf-8", "surrogateescape"))


@st.composite
def changed_tree(draw: st.DrawFn, valid: Sequence[Any], values: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - a tree of JSON is of any type
    """One of these trees with values replaced, fields renamed or left out, items repeated."""
    tree = copy.deepcopy(draw(st.sampled_from(valid)))
    value = (JSON | st.sampled_from(values)).map(copy.deepcopy) if values else JSON
    for _ in range(draw(st.integers(1, MOST_CHANGES))):
        spots = list(_spots(tree))
        if not spots:
            return draw(value)
        holder, key = draw(st.sampled_from(spots))
        match draw(st.sampled_from(("replace", "replace", "drop", "rename", "repeat", "wrap"))):
            case "replace":
                holder[key] = draw(value)
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=4) | st.just(str(key).upper()))] = holder.pop(key)
            case "repeat" if isinstance(holder, list):
                holder.insert(0, copy.deepcopy(holder[key]))
            case _:
                holder[key] = [holder[key]]
    return tree


def _spots(tree: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - as above
    """Every place in the tree that holds a value: what holds it, and under which key."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = (
            list(holder)
            if isinstance(holder, dict)
            else range(len(holder))
            if isinstance(holder, list)
            else ()
        )
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def long_inputs(pieces: Sequence[str], size: int) -> list[str]:
    """Each piece again and again, up to so many characters: where a reader looks back, it takes the square of it."""
    return [piece * (size // len(piece)) for piece in pieces]
