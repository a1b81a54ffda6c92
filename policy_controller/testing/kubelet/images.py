"""Which program an image's name stands for, and what its root holds.

Two kinds of root: the directory of an unpacked image, or none. Without one the container sees this checkout, its
interpreter and the system's libraries, and nothing else of the machine; so the same code runs, with the same rights.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import policy_controller

CHECKOUT: Final = Path(policy_controller.__file__).resolve().parents[1]
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM: Final = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What programs need of the machine; where one is a link, the container has the same link."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container runtime reads from an image's configuration.

    `root` None: this checkout's. `user` is the image's USER, by number.
    """

    entrypoint: tuple[str, ...]
    root: Path | None = None
    user: int = 0
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH})
    directory: str = "/"


@dataclass(frozen=True, slots=True)
class Root:
    """How a container's root is put together: absolute links, and what is bound where, read-only."""

    image: Path | None
    links: Mapping[str, str]
    shown: tuple[str, ...]


def root_of(image: Image) -> Root:
    """The root of a container of this image."""
    if image.root is not None:
        return Root(image.root.resolve(), {}, ())
    present = [Path(name) for name in SYSTEM if Path(name).exists()]
    links = {str(path): str(path.readlink()) for path in present if path.is_symlink()}
    # A virtual environment refers to the interpreter that it was made from.
    own = {CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    shown = [str(path) for path in (*present, *sorted(own)) if str(path) not in links]
    return Root(None, links, tuple(path for path in shown if not _is_within(path, shown)))


def program(name: str) -> str:
    """The path of a program that is installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


OWN: Final[Mapping[str, Image]] = {
    "policy-controller/operator": Image((program("policy-controller"),)),
    "policy-controller/enforcer": Image((program("policy-enforcer"),)),
}
"""This checkout, as the manifests name it."""


def repository(image: str) -> str:
    """An image's name without tag and digest."""
    bare = image.partition("@")[0]
    head, slash, last = bare.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _is_within(path: str, others: list[str]) -> bool:
    return any(path != other and path.startswith(f"{other}/") for other in others)
