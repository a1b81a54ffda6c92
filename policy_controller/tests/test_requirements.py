"""docs/requirements.md names the numbers that are checked, and the sentences that are said."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from compilers.nftables.transaction import NftRejectedError, Rejection, Transaction
from policy_controller.controller import cluster_version
from policy_controller.enforcer import libnftables, preflight
from policy_controller.enforcer.interfaces import Link, LinkKind
from policy_controller.enforcer.libnftables import BindingMissingError, LibNft
from policy_controller.enforcer.surroundings import Surroundings
from policy_controller.enforcer.tests.states import base
from policy_controller.testing.fake_nft import FakeNft

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "requirements.md").read_text()
ROW: Final = re.compile(r"^\| (?P<what>[^|]+?) \| (?P<oldest>\d[\d.]*) \|", re.MULTILINE)
SENTENCE: Final = re.compile(r"^\| `(?P<sentence>[^`]+)` \| (?:operator|enforcer) \|$", re.MULTILINE)

BRIDGE: Final = Link("cni0", LinkKind.BRIDGE)
WELL: Final = Surroundings(
    1 << preflight.CAP_NET_ADMIN,
    (BRIDGE,),
    {"bridge-nf-call-iptables": 1, "bridge-nf-call-ip6tables": 1},
    "6.1.0",
)
UNWELL: Final = (
    replace(WELL, release="5.4.0"),
    replace(WELL, capabilities=0),
    replace(WELL, bridge_calls=None),
    replace(WELL, bridge_calls={"bridge-nf-call-iptables": 0, "bridge-nf-call-ip6tables": 1}),
    replace(WELL, links=(BRIDGE, Link(preflight.IPVS_LINK, LinkKind.OTHER))),
)


class Refusing(FakeNft):
    """A kernel that lacks a part of nf_tables."""

    def check(self, transaction: Transaction) -> None:
        raise NftRejectedError(Rejection.INVALID, "No such file or directory")


def numbers(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def test_the_numbers_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {found["what"]: found["oldest"] for found in ROW.finditer(PAGE)} == {
        "Kubernetes": numbers(cluster_version.OLDEST),
        "Linux kernel": numbers(preflight.OLDEST_KERNEL),
        "libnftables with its Python binding": numbers(libnftables.OLDEST),
        "Python": project["requires-python"].removeprefix(">="),
    }


def said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One sentence for each thing that is checked, as it is said when that is missing."""
    yield from filter(None, map(cluster_version.complaint, ("v1.27.3", "unknown")))
    for around in UNWELL:
        yield from (finding.sentence for finding in preflight.findings(around, ("cni0",)))
    yield from (finding.sentence for finding in preflight.kernel_findings(Refusing(), base()))
    old = folder / "old.py"
    old.write_text(
        "class Nftables:\n"
        "    def set_json_output(self, val): pass\n"
        '    def cmd(self, _): return 0, \'{"nftables": [{"metainfo": {"version": "1.0.2"\', ""\n'
    )
    for binding in (old, folder / "none.py"):
        monkeypatch.setattr(libnftables, "BINDING", binding)
        with pytest.raises(BindingMissingError) as caught:
            LibNft()
        yield str(caught.value)


def test_the_sentences_are_those_that_are_said_and_none_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list(said(tmp_path, monkeypatch))
    named = [found["sentence"] for found in SENTENCE.finditer(PAGE)]
    assert len(named) == len(told)
    assert [sentence for sentence in told if not any(sentence.startswith(start) for start in named)] == []
    assert [start for start in named if not any(sentence.startswith(start) for sentence in told)] == []
