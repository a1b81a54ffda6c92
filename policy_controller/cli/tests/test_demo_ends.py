"""However a demo ends, nothing of it stays: processes, namespaces, folder."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policy_controller.cli.demo.folder import PREFIX, own_folder
from policy_controller.cli.tests.running import POLICYCTL

MARK = "POLICY_DEMO_TEST"
SECONDS = 60.0


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for temporary files, short enough for the path of a socket."""
    tmp_path_factory.getbasetemp()  # pytest looks for its own when it is first asked: not in ours
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def marked(mark: str) -> dict[int, list[str]]:
    """The command lines of all processes that inherited the mark."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
        except OSError:
            # No process, or one that has just ended.
            continue
    return found


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def namespaces_of(processes: dict[int, list[str]]) -> list[str]:
    """The namespaces of the demo's laboratory, whose janitor bears its name."""
    (name,) = (line[-1] for line in processes.values() if any(word.endswith("ownership.py") for word in line))
    return sorted(path.name for path in Path("/run/netns").glob(f"pc-{name}-*"))


@pytest.mark.packets
@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGKILL, b"making 487", -signal.SIGKILL),
        (signal.SIGKILL, b"starting", -signal.SIGKILL),
        (signal.SIGHUP, b"waiting", 130),
        (signal.SIGTERM, b"waiting", 130),
    ],
)
def test_nothing_of_a_demo_stays_when_it_is_ended(
    base: Path, number: signal.Signals, moment: bytes, code: int
) -> None:
    mark = uuid.uuid4().hex
    demo = subprocess.Popen(  # noqa: S603 - our own program
        # These tests may run under nohup, which a demo would take for its own.
        ["env", "--default-signal=HUP", str(POLICYCTL), "demo", "-o", "json"],  # noqa: S607 - whichever env there is
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, MARK: mark},
    )
    assert demo.stderr is not None
    with demo, demo.stderr:
        seen = []
        for line in demo.stderr:
            seen.append(line)
            if line.startswith(moment):
                break
        assert seen[-1].startswith(moment), seen
        # It must not go on to its end while its processes are counted.
        demo.send_signal(signal.SIGSTOP)
        before = marked(mark)
        namespaces = namespaces_of(before)
        assert namespaces
        assert len(before) > 2
        demo.send_signal(number)
        demo.send_signal(signal.SIGCONT)
        assert demo.wait(SECONDS) == code

    assert wait_until(lambda: not marked(mark)), marked(mark)
    assert not [name for name in namespaces if (Path("/run/netns") / name).exists()]
    if number is signal.SIGKILL:
        assert list(base.glob(f"{PREFIX}*"))
        with own_folder():
            pass
    assert not list(base.glob(f"{PREFIX}*"))


def test_a_folder_goes_with_its_demo_and_otherwise_with_the_next(base: Path) -> None:
    killed = (
        "import os, signal\nfrom policy_controller.cli.demo.folder import own_folder\n"
        "with own_folder() as folder:\n  (folder / 'log').touch()\n  os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", killed], check=False)  # noqa: S603 - our own program
    (left,) = base.iterdir()

    with own_folder() as first:
        assert not left.exists()
        with own_folder() as second:
            assert sorted(base.iterdir()) == sorted([first, second])
        assert list(base.iterdir()) == [first]
    assert not list(base.iterdir())


def test_what_is_no_folder_of_ours_is_left_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").touch()
    (base / f"{PREFIX}link").symlink_to(tmp_path)
    (base / f"{PREFIX}file").touch()
    (base / f"{PREFIX}foreign").mkdir()
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)

    with own_folder():
        pass

    assert (tmp_path / "kept").exists()
    assert sorted(path.name for path in base.iterdir()) == [
        f"{PREFIX}file",
        f"{PREFIX}foreign",
        f"{PREFIX}link",
    ]
