"""The first moments of a container: takes its namespaces, builds its root, gives up rights, and becomes its program.

Run as a program by containers.py, which writes one JSON document (`Birth`) to its standard input. Only the standard
library is imported: this file runs alone, isolated, so that it starts fast. Sources: capabilities(7), mount(2), prctl(2),
pid_namespaces(7).

The process that is started stays outside as the parent: it passes SIGTERM on, and ends with the container's exit code
(128 and the number, when a signal ended it). When it is killed the container is, too.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    0x1,
    0x2,
    0x4,
    0x8,
    0x20,
    0x1000,
    0x4000,
    0x40000,
)
HARMLESS: Final = MS_NOSUID | MS_NODEV | MS_NOEXEC

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
SHARED_MEMORY: Final = "shm"
READ_ONLY_OF_PROC: Final = ("sys", "sysrq-trigger", "irq", "bus")
"""What container runtimes mount read-only in every container that is not privileged."""

LIBC: Final = ctypes.CDLL(None, use_errno=True)
LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")


def main() -> None:
    """Read the document, and never return."""
    birth = json.load(sys.stdin)
    birth["last_capability"] = int(LAST_CAPABILITY.read_text())
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    network = os.open(birth["network"], os.O_RDONLY | os.O_CLOEXEC)
    _call("setns", network, CLONE_NEWNET)
    _call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)
    child = os.fork()
    if child:
        _stay(child)
    try:
        _become(birth)
    except OSError as error:
        sys.stderr.write(f"the container cannot be started: {error}\n")
        os._exit(128)


def _stay(child: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(birth: dict[str, Any]) -> None:
    os.setsid()
    _call("sethostname", birth["hostname"].encode(), len(birth["hostname"].encode()))
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    root = _root(birth)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chroot(root)
    os.chdir(birth["directory"])
    _give_up(birth)
    # After the change of user: it clears this.
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    environment = birth["environment"]
    os.execvpe(birth["argv"][0], birth["argv"], environment)  # noqa: S606 - that is what this is for


def _root(birth: dict[str, Any]) -> str:
    """The container's root, complete, below `birth["scratch"]`."""
    scratch = birth["scratch"]
    _mount("tmpfs", scratch, "tmpfs", MS_NOSUID, "mode=755")
    root = f"{scratch}/root"
    os.mkdir(root)
    if birth["image"] is not None:
        for name in ("upper", "work"):
            os.mkdir(f"{scratch}/{name}")
        layers = f"lowerdir={birth['image']},upperdir={scratch}/upper,workdir={scratch}/work"
        _mount("overlay", root, "overlay", MS_NODEV, layers)
    else:
        _mount(root, root, "", MS_BIND)
    for target, source in birth["links"].items():
        os.symlink(source, root + target)
    _kernel_file_systems(root)
    for bind in birth["binds"]:
        _bind(bind["source"], root + bind["target"], MS_RDONLY if bind["read_only"] else 0)
    if birth["read_only"]:
        _mount("none", root, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    return root


def _kernel_file_systems(root: str) -> None:
    for name in ("proc", "sys", "dev"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    _mount("proc", f"{root}/proc", "proc", HARMLESS)
    for name in READ_ONLY_OF_PROC:
        if os.path.exists(f"{root}/proc/{name}"):
            _bind(f"{root}/proc/{name}", f"{root}/proc/{name}", MS_RDONLY | HARMLESS)
    _mount("sysfs", f"{root}/sys", "sysfs", MS_RDONLY | HARMLESS)
    _mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
    for name in DEVICES:
        _bind(f"/dev/{name}", f"{root}/dev/{name}", 0)
    shared = f"{root}/dev/{SHARED_MEMORY}"
    os.mkdir(shared)
    _mount("shm", shared, "tmpfs", HARMLESS, "mode=1777")
    for name, place in DEVICE_LINKS.items():
        os.symlink(place, f"{root}/dev/{name}")


def _bind(source: str, target: str, flags: int) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    _mount(source, target, "", MS_BIND)
    if flags:
        _mount("none", target, "", MS_BIND | MS_REMOUNT | flags)


def _give_up(birth: dict[str, Any]) -> None:
    """Everything but the stated capabilities and user. The program's capabilities follow at exec (capabilities(7))."""
    kept = frozenset(birth["capabilities"])
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(birth["last_capability"] + 1):
        if number not in kept:
            _call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups(birth["groups"])
    os.setresgid(birth["gid"], birth["gid"], birth["gid"])
    os.setresuid(birth["uid"], birth["uid"], birth["uid"])
    if birth["no_new_privileges"]:
        _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    parts = (source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    try:
        _call("mount", parts[0], parts[1], parts[2], ctypes.c_ulong(flags), parts[4])
    except OSError as error:
        raise OSError(error.errno, f"mount of {kind or source} at {target}: {error.strerror}") from None


def _call(name: str, *arguments: object) -> None:
    # prctl takes longs, and ctypes would pass numbers as ints.
    words = [
        ctypes.c_ulong(word) if isinstance(word, int) and name == "prctl" else word for word in arguments
    ]
    if getattr(LIBC, name)(*words) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
