"""Bodies in protobuf: read whole or refused. That kubectl's are read, kubectl's own tests show."""

import pytest

from policy_controller.testing.api_server import ApiError
from policy_controller.testing.api_server.schemas.protobuf import MAGIC, read_protobuf


def text(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(api_version: bytes, kind: bytes, message: bytes) -> bytes:
    return MAGIC + text(1, text(1, api_version) + text(2, kind)) + text(2, message)


NAMED = text(1, text(1, b"web") + text(3, b""))

READ = [
    (b"v1", b"ConfigMap", NAMED, {"metadata": {"name": "web"}}),
    (b"v1", b"ConfigMap", text(2, text(1, b"k") + text(2, b"v")), {"data": {"k": "v"}}),
    (b"v1", b"Secret", text(2, text(1, b"k") + text(2, b"\xff")), {"data": {"k": "/w=="}}),
    (
        b"v1",
        b"Pod",
        text(2, text(1, text(1, b"v") + text(2, text(2, b"")))),
        {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
    ),
    (b"scheduling.k8s.io/v1", b"PriorityClass", b"\x10" + b"\xff" * 9 + b"\x01", {"value": -1}),
    (
        b"policy/v1",
        b"PodDisruptionBudget",
        text(2, text(1, b"\x08\x01\x10\x00" + text(3, b"10%")) + text(3, b"\x08\x00\x10\x02")),
        {"spec": {"minAvailable": "10%", "maxUnavailable": 2}},
    ),
    (b"meta/v1", b"DeleteOptions", b"\x08\x00", {"gracePeriodSeconds": 0}),
]


@pytest.mark.parametrize(("api_version", "kind", "message", "parts"), READ)
def test_message_is_read_by_the_numbers_of_its_type(
    api_version: bytes, kind: bytes, message: bytes, parts: dict[str, object]
) -> None:
    head = {"apiVersion": api_version.decode(), "kind": kind.decode()}
    assert read_protobuf(envelope(api_version, kind, message)) == {**head, **parts}


REFUSED = [
    (b"{}", 400),
    (MAGIC, 415),
    (MAGIC + b"\xff", 400),
    (envelope(b"v1", b"Widget", b""), 415),
    (envelope(b"v1", b"ConfigMap", text(9, b"x")), 400),
    (envelope(b"v1", b"ConfigMap", b"\x0a\xff"), 400),
    (envelope(b"v1", b"ConfigMap", text(2, b"\xff\xff")), 400),
    (envelope(b"v1", b"ConfigMap", text(1, text(1, b"\xff"))), 400),
    (envelope(b"v1", b"ConfigMap", b"\x08\x01"), 400),
]


@pytest.mark.parametrize(("body", "code"), REFUSED)
def test_body_that_is_not_understood_whole_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        read_protobuf(body)
    assert caught.value.code == code
