"""Strings made to be taken for syntax, wherever an object has room for a string; and names at their longest.

Knows what nft, shells, terminals, logs and HTML read as syntax. Knows nothing of who could read it.
"""

from collections.abc import Iterator
from typing import Final

from policy_controller.testing.hostile.case import INGRESS, PREY, Case, namespace, pod, policy

SYNTAX: Final[dict[str, str]] = {
    "nft rule": 'x" ; add rule inet policy-controller forward accept ; #',
    "nft flush": "x }; flush ruleset; #",
    "nft set": "@known4",
    "wildcard": "*",
    "variable": "$defined",
    "shell": "$(touch /tmp/policy-controller-was-here)",
    "backticks": "`touch /tmp/policy-controller-was-here`",
    "newline": "a\nlevel=error msg=forged",
    "return": "a\rb",
    "NUL": "a\0b",
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "C1 terminal": "\x9b31m",
    "bidi": "\u202eevil\u2066",
    "line separator": "a\u2028b",
    "half a surrogate pair": "\ud800",
    "HTML": "<script>alert(1)</script>",
    "formula": "=cmd|' /C calc'!A0",
    "percent": "%s%n%x",
    "braces": "{0.__class__}",
    "backslashes": "\\" * 50,
    "path": "../../../etc/passwd",
    "long": "x" * 100_000,
    "long and wide": "\U0001f600" * 10_000,
}

KEY_AND_VALUE: Final = "Zz9-_.zZ" + "a" * 54 + "9"
LONGEST_PREFIX: Final = ".".join(["a" * 61] * 3 + ["b" * 63, "c"])[:253].rstrip(".")
LONGEST_NAME: Final = ".".join(["n" * 63] * 3 + ["m" * 61])
LONGEST_NAMESPACE: Final = "s" * 63
LEGAL: Final = {f"{LONGEST_PREFIX}/{KEY_AND_VALUE}": KEY_AND_VALUE, "Aa0._-zZ9": "", "0": "9"}
"""Labels at their longest, with every legal character."""


def _labels() -> Iterator[Case]:
    for name, word in SYNTAX.items():
        in_key = {"ingress": [{"from": [{"podSelector": {"matchLabels": {word: "a"}}}]}, {}]}
        in_value = {"ingress": [{"from": [{"podSelector": {"matchLabels": {"a": word}}}]}, {}]}
        yield Case(f"selector key: {name}", (policy(in_key),), ("label key",), INGRESS)
        yield Case(f"selector value: {name}", (policy(in_value),), ("label value",), INGRESS)
        yield Case(
            f"port: {name}",
            (policy({"ingress": [{"ports": [{"port": word}]}, {}]}),),
            ("is not a port name",),
            INGRESS,
        )
        yield Case(f"field: {name}", (policy({"ingress": [{word: 1}, {}]}),), ("no such field",), INGRESS)
        labels = {"labels": {"app": "sly", word: "a", "b": word}}
        yield Case(
            f"pod labels: {name}", (pod("sly", "10.244.1.9", metadata=labels),), ("label key", "label value")
        )
        yield Case(
            f"namespace labels: {name}",
            (namespace(PREY, {word: "a", "b": word}),),
            ("label key", "label value"),
        )


def _free_text() -> Iterator[Case]:
    """Where any string may stand, and is never looked at or only ever shown."""
    for name, word in SYNTAX.items():
        metadata = {"annotations": {word: word}, "finalizers": [word], "generateName": word}
        containers = [{"name": word, "image": word, "ports": [{"name": "web", "containerPort": 80}]}]
        spec = {"containers": containers, "nodeName": "node-a", "hostname": word}
        yield Case(f"free text: {name}", (pod("sly", "10.244.1.9", metadata=metadata, spec=spec),))
        yield Case(
            f"node name: {name}", (pod("sly", "10.244.1.9", spec={"nodeName": word}),), ("is not a name",)
        )
        owner = {"ownerReferences": [{"kind": word, "name": word, "controller": True}]}
        fits = len(word) <= 253 and word.isascii() and word.isprintable()
        told = () if fits else ("is not the kind or name of an object",)
        yield Case(f"owner: {name}", (pod("sly", "10.244.1.9", metadata=owner),), told)


def _longest() -> Iterator[Case]:
    peer = {"namespaceSelector": {"matchLabels": LEGAL}, "podSelector": {"matchLabels": LEGAL}}
    expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in LEGAL.items()]
    spec = {
        "podSelector": {"matchExpressions": expressions},
        "ingress": [{"from": [peer], "ports": [{"port": "a-2345678901234"}]}],
    }
    yield Case(
        "names at their longest",
        (
            namespace(LONGEST_NAMESPACE, LEGAL),
            pod(
                LONGEST_NAME,
                "10.244.1.9",
                LONGEST_NAMESPACE,
                metadata={"namespace": LONGEST_NAMESPACE, "name": LONGEST_NAME, "labels": LEGAL},
            ),
            policy(spec, LONGEST_NAME, LONGEST_NAMESPACE),
            policy({"ingress": [{"from": [peer]}]}, LONGEST_NAME),
        ),
    )


WORDS: Final[tuple[Case, ...]] = (*_labels(), *_free_text(), *_longest())
