"""Images as e2e/image.sh leaves them: archives of `docker save`, read for their name, or unpacked to be run from.

Knows the archive's form. Source: the image specification of Docker, version 1.2 ("Combined Image JSON + Filesystem
Changeset Format").
"""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Final

from policy_controller.testing.kubelet import Image
from policy_controller.testing.kubelet.images import repository

WHITEOUT: Final = ".wh."


class ArchiveError(Exception):
    """It is no such archive, or one that cannot be unpacked here; the text names the file."""


def reference(archive: Path) -> str:
    """The name and tag of the one image in an archive. Raises ArchiveError."""
    tags = _manifest(archive)["RepoTags"] or []
    if len(tags) != 1:
        raise ArchiveError(f"{archive} has {len(tags)} names, not one")
    return str(tags[0]).removeprefix("docker.io/").removeprefix("library/")


def unpack(archive: Path, directory: Path) -> tuple[str, Image]:
    """The image's repository, and the image with its root in a new directory. Needs root. Raises ArchiveError."""
    manifest = _manifest(archive)
    root, layers = directory / "root", directory / "layers"
    for made in (root, layers):
        made.mkdir(parents=True)
    subprocess.run(["tar", "-C", layers, "-xf", archive], check=True)  # noqa: S603, S607 - the system's tar
    for layer in manifest["Layers"]:
        with tarfile.open(layers / layer) as opened:
            removed = [name for name in opened.getnames() if Path(name).name.startswith(WHITEOUT)]
        if removed:
            raise ArchiveError(f"{archive}: a layer removes files of another, which is not played")
        subprocess.run(["tar", "-C", root, "-xf", layers / layer], check=True)  # noqa: S603, S607 - the system's tar
    config = json.loads((layers / manifest["Config"]).read_text("utf-8"))["config"]
    environment = dict(variable.split("=", 1) for variable in config.get("Env") or ())
    user = int((config.get("User") or "0").partition(":")[0])
    entrypoint = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    image = Image(entrypoint, root, user, environment, config.get("WorkingDir") or "/")
    return repository(reference(archive)), image


def _manifest(archive: Path) -> dict[str, Any]:
    try:
        with tarfile.open(archive) as opened:
            member = opened.extractfile("manifest.json")
            manifests = json.load(member) if member is not None else []
    except (tarfile.TarError, KeyError, ValueError) as fault:
        raise ArchiveError(f"{archive} is no archive of an image: {fault}") from fault
    if len(manifests) != 1:
        raise ArchiveError(f"{archive} holds {len(manifests)} images, not one")
    return dict(manifests[0])
