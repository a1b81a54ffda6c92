"""Texts that are no objects, or are more than they seem: bytes as they may lie in a file.

Knows YAML and JSON and how both are abused. Knows nothing of who reads them. Each stands before a good document, which must
be read all the same.
"""

from typing import Final

from policy_controller.testing.hostile.words import SYNTAX

GOOD: Final = b"""
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: good, namespace: good}
spec: {policyTypes: [Ingress]}
"""


def _laughs(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def _policy(spec: bytes) -> bytes:
    return (
        b'{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", '
        b'"metadata": {"name": "bad", "namespace": "bad"}, "spec": ' + spec + b"}"
    )


TEXTS: Final[dict[str, bytes]] = {
    "billion laughs": _laughs(40),
    "an alias of itself": b"a: &a [*a]",
    "an alias of nothing": b"a: *b",
    "a merge of itself": b"a: &a {<<: *a}",
    "merges of merges": _laughs(30).replace(b"[", b"{<<: [").replace(b"]", b"]}"),
    "100,000 anchors": b"[" + b", ".join(b"&a%d x" % number for number in range(100_000)) + b"]",
    "10,000 brackets": b"[" * 10_000 + b"]" * 10_000,
    "10,000 mappings": _policy(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "10,000 levels of block": b"\n".join(b" " * number + b"a:" for number in range(2_000)),
    "brackets without end": b"[" * 1_000_000,
    "a key twice": b"kind: NetworkPolicy\nkind: Pod",
    "a key twice in JSON": _policy(b'{"podSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}'),
    "invalid UTF-8": _policy(b'{"podSelector": {"matchLabels": {"a": "\xff\xfe"}}}'),
    "UTF-16": "kind: Pod".encode("utf-16"),
    "NUL": b"kind: Pod\0",
    "escape": b"kind: \x1b[31mPod",
    "half a surrogate pair": _policy(rb'{"podSelector": {"matchLabels": {"a": "\ud800"}}}'),
    "1e400": _policy(b'{"ingress": [{"ports": [{"port": 1e400}]}]}'),
    "NaN": _policy(b'{"ingress": [{"ports": [{"port": NaN}]}]}'),
    ".inf": b"kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {name: a, namespace: b}\n"
    b"spec: {ingress: [{ports: [{port: .inf}]}]}",
    "5,000 digits": _policy(b'{"ingress": [{"ports": [{"port": ' + b"9" * 5_000 + b"}]}]}"),
    "sexagesimal": b"kind: Pod\nmetadata: {name: 1:2}",
    "a tag": b"kind: !!python/object/apply:os.system [id]",
    "a tag of a type": b"kind: !!binary aGk=",
    "a tab": b"kind:\tPod\n\tmetadata: {}",
    "no object": b"- 1\n- 2",
    "a list of null": b"kind: List\nitems: null",
    "a list of itself": b"kind: List\nitems: &a [{kind: List, items: *a}]",
    "lists in lists": b"kind: List\nitems: [" * 150 + b"]" * 150,
    "no metadata": b"kind: NetworkPolicy\napiVersion: networking.k8s.io/v1",
    "metadata is a list": b"kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: [a]",
    "directive": b"%YAML 9.9\n---\nkind: Pod",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
    "a line of a megabyte": b"kind: " + b"x" * 1_000_000,
    "a key of a megabyte": b"? " + b"x" * 1_000_000 + b"\n: 1",
    **{
        f"name: {name}": _policy(b"{}").replace(
            b'"bad", "n', b'"' + word.encode("unicode_escape").replace(b'"', b"'") + b'", "n'
        )
        for name, word in SYNTAX.items()
    },
}
