"""Which libnftables is taken: the distribution's, when it is there and not too old; and how it is asked for a table."""

from pathlib import Path

import pytest

from compilers.nftables.lexer import ReadError
from compilers.nftables.words import TableFamily
from policy_controller.enforcer import libnftables
from policy_controller.enforcer.libnftables import OLDEST, BindingMissingError, LibNft

BINDING = """
class Nftables:
    def set_json_output(self, val):
        self.json = val

    def cmd(self, cmdline):
        assert self.json
        return {answer!r}
"""
METAINFO = (
    '{{"nftables": [{{"metainfo": {{"version": "{}", "release_name": "x", "json_schema_version": 1}}}}]}}'
)
MAJOR, MINOR, PATCH = OLDEST


def said(version: str) -> tuple[int, str, str]:
    return 0, METAINFO.format(version), ""


@pytest.fixture
def binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "nftables.py"
    monkeypatch.setattr(libnftables, "BINDING", path)
    return path


@pytest.mark.parametrize(
    "answer",
    [
        said(f"{MAJOR}.{MINOR}.{PATCH}"),
        said(f"{MAJOR}.{MINOR + 1}.0"),
        said(f"{MAJOR}.{MINOR}.{PATCH + 10}"),
        # Without CAP_NET_ADMIN; preflight tells that.
        (-1, "", "Error: Could not process rule: Operation not permitted"),
    ],
)
def test_a_library_of_the_oldest_version_or_later_is_taken(
    binding: Path, answer: tuple[int, str, str]
) -> None:
    binding.write_text(BINDING.format(answer=answer))
    LibNft()


@pytest.mark.parametrize("version", [f"{MAJOR}.{MINOR}.{PATCH - 1}", "0.9.8"])
def test_an_older_library_is_refused_in_one_sentence(binding: Path, version: str) -> None:
    binding.write_text(BINDING.format(answer=said(version)))
    with pytest.raises(BindingMissingError) as caught:
        LibNft()
    assert str(caught.value).startswith(
        f"libnftables is {version}, and {MAJOR}.{MINOR}.{PATCH} is the oldest"
    )
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_there_is_told_with_its_package(binding: Path) -> None:
    assert not binding.exists()
    with pytest.raises(BindingMissingError, match="install python3-nftables"):
        LibNft()


@pytest.mark.kernel
def test_the_library_of_this_machine_says_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    LibNft()
    monkeypatch.setattr(libnftables, "OLDEST", (99, 0, 0))
    with pytest.raises(BindingMissingError, match=r"libnftables is \d+\.\d+\.\d+, and 99\.0\.0"):
        LibNft()


LISTING = """
listings = {listings!r}


class Nftables:
    def set_json_output(self, val):
        pass

    def set_stateless_output(self, val):
        pass

    def set_numeric_proto_output(self, val):
        pass

    def cmd(self, cmdline):
        return (0, listings.pop(0), "") if cmdline.startswith("list table ") else {version!r}
"""
WHOLE = "table inet t {\n\tchain c {\n\t}\n}\n"
TWICE = "table inet t {\n\tchain c {\n\t}\n\tchain c {\n\t}\n}\n"
VERSION = said(f"{MAJOR}.{MINOR}.{PATCH}")


def test_a_listing_that_a_commit_met_is_asked_for_again(binding: Path) -> None:
    binding.write_text(LISTING.format(listings=[TWICE, TWICE, WHOLE], version=VERSION))
    listed = LibNft().list_table(TableFamily.INET, "t")
    assert listed is not None
    assert [chain.name for chain in listed.chains] == ["c"]


def test_what_cannot_be_read_however_often_is_an_error(binding: Path) -> None:
    binding.write_text(LISTING.format(listings=[TWICE, TWICE, TWICE, WHOLE], version=VERSION))
    with pytest.raises(ReadError, match="two chains of one name"):
        LibNft().list_table(TableFamily.INET, "t")
