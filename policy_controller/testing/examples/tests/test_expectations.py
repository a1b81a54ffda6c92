"""`expected.yaml` is read strictly: each fault is named with its line, and all of them at once."""

from pathlib import Path

import pytest

from compilers.evaluate.decision import Verdict
from compilers.model.words import Protocol
from compilers.parse.source import read_documents
from policy_controller.testing.examples import ExampleError, load_example
from policy_controller.testing.examples.expectations import Expected, read_expectations
from policy_controller.testing.generators import random_cluster, seeded
from policy_controller.testing.generators.truth_table import truth_table

CLUSTER = next(truth_table()).cluster
ROW = "{from: shop/subject, to: shop/neighbour, port: 80/TCP, expect: allowed}"


def _read(text: str) -> Expected:
    (document,) = read_documents(text, "expected.yaml").documents
    return read_expectations(document, CLUSTER)


def test_a_row_stands_for_every_combination_of_its_ends_services_and_families() -> None:
    row = "{from: [shop/subject, node/node-a], to: [ops/stranger, 203.0.113.9], port: [80/TCP, ICMP], expect: denied}"
    expected = _read(f"expectations:\n  - {row}\n")
    assert expected.faults == ()
    found = {
        (str(item.traffic.source), str(item.traffic.destination), item.traffic.service)
        for item in expected.expectations
    }
    ends = [("shop/subject", "ops/stranger"), ("node/node-a", "ops/stranger")]
    services = ("TCP 80", "ICMP", "ICMPv6")
    assert found == {(*pair, service) for pair in ends for service in services} | {
        (source, "203.0.113.9", service) for source, _ in ends for service in ("TCP 80", "ICMP")
    }
    # Two families to the pod, one to the address; two sources, two services.
    assert len(expected.expectations) == 2 * 2 * (2 + 1)
    assert {item.verdict for item in expected.expectations} == {Verdict.DENIED}
    assert {str(item.position) for item in expected.expectations} == {"expected.yaml:2:5"}


def test_a_row_may_be_about_one_family() -> None:
    expected = _read(f"expectations:\n  - {ROW[:-1]}, family: IPv6}}\n")
    (only,) = expected.expectations
    assert (only.traffic.source.address.version, only.traffic.protocol, only.traffic.port) == (
        6,
        Protocol.TCP,
        80,
    )


FAULTS = [
    ("[]", 1, "must hold `expectations:`, a list of rows, and nothing else"),
    ("expectations: []\nmore: 1", 1, "must hold `expectations:`, a list of rows, and nothing else"),
    ("expectations:\n  - 7", 2, "must be a row of from, to, port, expect, family"),
    (f"expectations:\n  - {ROW[:-1]}, because: x}}", 2, "is not a field of a row"),
    ("expectations:\n  - {from: shop/subject, to: shop/subject, expect: denied}", 2, "lacks `port`"),
    (f"expectations:\n  - {ROW.replace('shop/subject', 'shop/nobody')}", 2, "is not in the workloads"),
    (f"expectations:\n  - {ROW.replace('shop/subject', 'node/nobody')}", 2, "is not in the workloads"),
    (
        f"expectations:\n  - {ROW.replace('shop/subject', 'shop')}",
        2,
        "neither an address nor `namespace/pod`",
    ),
    (f"expectations:\n  - {ROW.replace('shop/subject', '[]')}", 2, "must not be an empty list"),
    (f"expectations:\n  - {ROW.replace('shop/subject', '7')}", 2, "must be `namespace/pod`, `node/NAME`"),
    (f"expectations:\n  - {ROW.replace('80/TCP', '80')}", 2, "must be like `5432/TCP`"),
    (f"expectations:\n  - {ROW.replace('80/TCP', '80/GRE')}", 2, "must be like `5432/TCP`"),
    (f"expectations:\n  - {ROW.replace('80/TCP', '0/TCP')}", 2, "0 is not a port"),
    (f"expectations:\n  - {ROW.replace('80/TCP', '65536/TCP')}", 2, "65536 is not a port"),
    (f"expectations:\n  - {ROW.replace('allowed', 'ok')}", 2, "must be one of allowed, denied"),
    (f"expectations:\n  - {ROW.replace('allowed', 'yes')}", 2, "must be one of allowed, denied"),
    (f"expectations:\n  - {ROW[:-1]}, family: 4}}", 2, "must be one of IPv4, IPv6"),
    (
        "expectations:\n  - {from: 10.0.0.1, to: '::1', port: 1/UDP, expect: denied}",
        2,
        "has no two ends with an address family in common",
    ),
]


@pytest.mark.parametrize(("text", "line", "reason"), FAULTS, ids=[row[2] for row in FAULTS])
def test_a_fault_is_named_with_its_line(text: str, line: int, reason: str) -> None:
    (fault,) = _read(text).faults
    assert reason in fault.reason
    assert fault.position is not None
    assert (fault.position.file, fault.position.line) == ("expected.yaml", line)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    bad = ROW.replace("allowed", "ok").replace("80/TCP", "x")
    (tmp_path / "policies.yaml").write_text("")
    (tmp_path / "workloads.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    (tmp_path / "expected.yaml").write_text(f"expectations:\n  - {bad}\n  - {ROW[:-1]}, x: 1}}\n")
    with pytest.raises(ExampleError) as raised:
        load_example(tmp_path)
    # Two ends that are not there, a port, a verdict; and a field.
    assert len(raised.value.faults) == 5
    assert all(f"{tmp_path}/expected.yaml:" in line for line in str(raised.value).splitlines())


def test_faults_of_policies_are_told_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {ingress: 7}\n"
    )
    (tmp_path / "workloads.yaml").write_text("a: [\n")
    (tmp_path / "expected.yaml").write_text("expectations: []\n")
    with pytest.raises(ExampleError, match="workloads"):
        load_example(tmp_path)
    (tmp_path / "workloads.yaml").write_text("")
    with pytest.raises(ExampleError, match=r"spec\.ingress"):
        load_example(tmp_path)


def test_rows_about_any_cluster_are_read_without_exceptions() -> None:
    (document,) = read_documents(f"expectations:\n  - {ROW}\n", "expected.yaml").documents
    for seed in range(50):
        expected = read_expectations(document, random_cluster(seeded(seed)))
        assert expected.faults
