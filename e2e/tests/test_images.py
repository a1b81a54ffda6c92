"""The images: what is in them and what is not, and that an installation from them enforces with the rights that it is given."""

import ast
import os
import re
import shutil
import stat
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from e2e.agents import Agents
from e2e.archives import ArchiveError, reference, unpack
from e2e.asking import confirmed
from e2e.examples import Site
from e2e.install import Installation
from e2e.laboratory import LaboratoryCluster
from e2e.state import stored
from e2e.tests import town
from policy_controller.testing.kubelet import Image

Record = Callable[[str, object], None]

ROOT: Final = Path(__file__).resolve().parents[2]
LOCKED: Final = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)", re.MULTILINE)
DISTRIBUTIONS: Final = {
    "aiohttp": "aiohttp",
    "click": "click",
    "cryptography": "cryptography",
    "google": "protobuf",
    "grpc": "grpcio",
    "kopf": "kopf",
    "kr8s": "kr8s",
    "msgspec": "msgspec",
    "prometheus_client": "prometheus-client",
    "pyroute2": "pyroute2",
    "yaml": "PyYAML",
}
"""What is imported, and what it comes with."""

BELOW: Final = (
    "compilers",
    "nft_templates",
    "policy_controller/bounded.py",
    "policy_controller/clock.py",
    "policy_controller/wire",
    "policy_controller/logs",
    "policy_controller/settings",
)
SEPARATE: Final = ("tests", "generate.py")
"""Tests, and the program that makes the stubs, run nowhere but in a checkout."""

ROOMS: Final[Mapping[str, tuple[str, ...]]] = {
    "operator": ("policy_controller/controller", *BELOW),
    "enforcer": ("policy_controller/enforcer", *BELOW),
    "probe": ("policy_controller/testing/probe", "policy_controller/testing/laboratory"),
}
ABSENT: Final = re.compile(
    r"(?:.*/)?(?:sh|bash|dash|busybox|perl|apt|apt-get|dpkg|su|sudo|mount|cc|gcc|c\\+\\+|ld|as|make|pip3?|nft|ip|curl|wget)"
)
NEEDED: Final = ("buildah", "debootstrap", "unshare")
UNCHECKED_HASH: Final = b"\1\0\0\0"
"""Flags of bytecode that is taken whatever time its source has (PEP 552)."""

NET_ADMIN: Final = 12
"""Its number (include/uapi/linux/capability.h)."""


def imported(path: Path) -> Iterator[str]:
    """The first words of absolute imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("image", ROOMS)
def test_an_image_gets_what_its_room_imports_and_no_more(image: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    files = [
        path
        for room in ROOMS[image]
        for path in ((ROOT / room).rglob("*.py") if not room.endswith(".py") else (ROOT / room,))
        if not set(SEPARATE) & set(path.relative_to(ROOT).parts)
    ]

    words = {word for path in files for word in imported(path)}

    assert {DISTRIBUTIONS[word] for word in words if word in DISTRIBUTIONS} == set(groups[image])


@pytest.mark.parametrize("image", [*ROOMS, "build"])
def test_an_image_has_the_versions_that_were_tested(image: str) -> None:
    tested = dict(LOCKED.findall((ROOT / "requirements.lock").read_text("utf-8")))

    chosen = dict(LOCKED.findall((ROOT / f"requirements-{image}.lock").read_text("utf-8")))

    assert chosen
    assert chosen.items() <= tested.items()


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "operator.tar").write_bytes(b"nothing")

    with pytest.raises(ArchiveError, match=r"operator\.tar"):
        reference(tmp_path / "operator.tar")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All images, built by e2e/image.sh as its head says."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"images are built by root, with {', '.join(NEEDED)}; missing: {', '.join(missing) or 'root'}"
        )
    directory = tmp_path_factory.mktemp("images")
    begun = time.monotonic()
    words = [str(ROOT / "e2e/image.sh"), "--output", str(directory)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert ended.returncode == 0, ended.stderr
    print(f"{ended.stdout}{time.monotonic() - begun:.0f} s")  # noqa: T201 - for docs/install.md
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def images(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    """The images, unpacked."""
    directory = tmp_path_factory.mktemp("unpacked")
    yield {name: unpack(archives / f"{name}.tar", directory / name)[1] for name in ROOMS}
    shutil.rmtree(directory)


@pytest.mark.whole
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ROOMS)
def test_an_image_holds_nothing_to_work_with_for_whoever_gets_in(
    images: dict[str, Image], archives: Path, name: str, record_property: Record
) -> None:
    root = images[name].root
    assert root is not None
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]

    assert not [path for path in files if ABSENT.fullmatch(str(path)) and os.access(path, os.X_OK)]
    assert not [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [path for path in files if path.stat().st_mode & stat.S_IWOTH]
    assert not list(root.glob("**/site-packages/pip"))
    assert not list(root.glob("**/policy_controller/**/tests"))
    others = {"controller", "enforcer", "cli", "testing"} - {
        {"operator": "controller", "probe": "testing"}.get(name, name)
    }
    (package,) = root.glob("opt/**/site-packages/policy_controller")
    assert not others & {path.name for path in package.iterdir()}
    record_property(f"MB of the {name} image on a node", (archives / f"{name}.tar").stat().st_size / 1e6)


@pytest.mark.whole
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ROOMS)
def test_an_image_never_compiles_what_it_imports(images: dict[str, Image], name: str) -> None:
    """A root that is read-only keeps no bytecode: what is not there is compiled at every start."""
    root = images[name].root
    assert root is not None
    ours = [path for path in root.rglob("*.py") if "site-packages" in path.parts]
    compiled = [path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc" for path in ours]

    assert ours
    assert {path.read_bytes()[4:8] for path in compiled} == {UNCHECKED_HASH}


@pytest.mark.whole
@pytest.mark.timeout(1800)
def test_an_image_runs_as_whom_the_manifests_say(images: dict[str, Image]) -> None:
    assert images["operator"].user == 65532
    assert images["enforcer"].user == 0
    assert [images[name].entrypoint for name in ("operator", "enforcer")] == [
        ("policy-controller",),
        ("policy-enforcer",),
    ]


@pytest.mark.whole
@pytest.mark.packets
@pytest.mark.timeout(1800)
async def test_an_installation_from_images_enforces_with_net_admin_alone(
    archives: Path, kubectl: Path, record_property: Record
) -> None:
    async with LaboratoryCluster(kubectl, archives) as cluster:
        installation = Installation(cluster)
        await installation.apply()
        site = Site.of(await cluster.kubectl.all("nodes"))
        enforcers = list(running("policy-enforcer", cluster.directory))
        async with Agents(cluster, town.NAMESPACES, town.pods(site)) as agents:
            for policy in (town.POLICIES[name] for name in town.USUAL):
                await cluster.kubectl.apply([policy])
                rows = list(town.rows(await stored(cluster.kubectl), agents.by_key))
                record_property("rows of the truth table with images", await confirmed(rows, agents.by_key))

    assert len(enforcers) == len(site.nodes)
    for rights in enforcers:
        assert rights == (f"{1 << NET_ADMIN:016x}", f"{1 << NET_ADMIN:016x}", "1", "ro")


def running(program: str, directory: Path) -> Iterator[tuple[str, str, str, str]]:
    """Of each container that runs a program from an unpacked image: CapEff, CapBnd, NoNewPrivs, and how its root is mounted."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            mounts = [line.split() for line in (place / "mountinfo").read_text().splitlines()]
            status = dict(
                line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line
            )
        except OSError:
            continue
        roots = [mount for mount in mounts if mount[4] == "/"]
        if not any(word.endswith(program.encode()) for word in words[:2]) or not roots:
            continue
        if str(directory) in roots[-1][-1]:
            yield status["CapEff"], status["CapBnd"], status["NoNewPrivs"], roots[-1][5].split(",")[0]
