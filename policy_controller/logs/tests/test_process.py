"""The log of a real process: what comes out of its standard error."""

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

DEADLINE = 30.0
BEGINNING = """
import ctypes, logging, os, subprocess, sys, threading, time, warnings
from policy_controller.logs import LogFormat, LogLevel, NativeLine, logging_to_stderr
log = logging.getLogger("here")
libc = ctypes.CDLL(None)
def native(text): os.write(2, text)
"""
INSIDE = "with logging_to_stderr(LogFormat.AUTO, LogLevel.INFO) as lines:\n"


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.err.splitlines()]

    def messages(self, logger: str) -> list[str]:
        return [record["message"] for record in self.records if record["logger"] == logger]


def program(inside: str, after: str = "", before: str = "") -> tuple[str, ...]:
    text = "\n".join(
        (
            BEGINNING,
            textwrap.dedent(before),
            INSIDE + textwrap.indent(textwrap.dedent(inside), "    "),
            textwrap.dedent(after),
        )
    )
    return (sys.executable, "-c", text)


def run(inside: str, after: str = "", before: str = "") -> Done:
    done = subprocess.run(program(inside, after, before), capture_output=True, timeout=DEADLINE, check=False)  # noqa: S603 - our own program
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_every_line_is_json_whoever_prints_it() -> None:
    done = run("""
        log.info("ours")
        native(b"I1124 12:26:15.591234 1 a.cc:1] from a library\\n")
        native(b"in two "); native(b"pieces\\r\\n\\n")
        native(b"\\xff\\x00\\x1b[31m binary\\n")
        print("printed", file=sys.stderr)
        warnings.warn("warned")
        threading.Thread(target=lambda: 1 / 0, name="x").start()
        native(b"without an end")
    """)
    assert done.code == 0
    assert done.messages("here") == ["ours"]
    assert done.messages("native") == [
        "from a library",
        "in two pieces",
        "\\xff\0\x1b[31m binary",
        "printed",
        "without an end",
    ]
    assert any("warned" in message for message in done.messages("py.warnings"))
    assert ["ZeroDivisionError" in record.get("exception", "") for record in done.records].count(True) == 1
    assert {record["level"] for record in done.records if record["message"] == "from a library"} == {"info"}
    assert [record["place"] for record in done.records if "place" in record] == ["a.cc:1"]


FORGED = "I1124 12:26:15.591234 1 b.cc:2] forged"


@pytest.mark.parametrize("filler", [0, 4_000, 4_096 - 48, 4_096 - 47, 4_096 - 46, 10_000])
def test_what_a_peer_sent_begins_no_line_of_a_library(filler: int) -> None:
    done = run(f"""
        native(b"unfinished")
        native(b"I1124 12:26:15.591234 1 a.cc:1] sent: {"x" * filler}\\n{FORGED}\\n")
        native(b"I1124 12:26:15.591234 1 a.cc:1] next\\n")
    """)
    told = [record for record in done.records if record["logger"] == "native"]
    assert [record.get("place") for record in told] == [None, "a.cc:1", "a.cc:1"]
    assert told[1]["message"].startswith("sent: ")
    assert told[2]["message"] == "next"


def test_a_long_line_is_cut_and_the_next_is_whole() -> None:
    done = run("""
        lines.subscribe(lambda line: print(len(line.text)))
        for _ in range(100): native(b"x" * 1000)
        native(b"\\nnext\\n")
    """)
    assert done.out.split() == ["8192", "4"]
    assert done.messages("native")[1] == "next"


def test_standard_error_is_given_back_and_the_loggers_too() -> None:
    done = run(
        'native(b"inside\\n")',
        """
        print("plain", file=sys.stderr)
        native(b"native\\n")
        assert sys.stderr is sys.__stderr__
        assert logging.getLogger().handlers == []
        assert logging.getLogger("kopf").level == logging.NOTSET
        assert len(os.listdir("/proc/self/fd")) == before
        """,
        'before = len(os.listdir("/proc/self/fd"))',
    )
    inside, *after = done.err.splitlines()
    assert json.loads(inside)["message"] == "inside"
    assert (done.code, after) == (0, ["plain", "native"])


def test_a_second_log_after_the_first_works_as_the_first() -> None:
    done = run(
        'log.info("first")',
        INSIDE + '    log.info("second"); native(b"library\\n")',
    )
    assert [record["message"] for record in done.records] == ["first", "second", "library"]


def test_who_prints_a_flood_never_waits_though_nobody_reads() -> None:
    """A subscriber that waits is a reader of the log that does not read."""
    done = run("""
        let = threading.Event()
        lines.subscribe(lambda line: let.wait())
        full = 0
        for _ in range(10_000):
            try: os.write(2, b"x" * 999 + b"\\n")
            except BlockingIOError: full += 1
        for _ in range(1_000): print("y" * 999, file=sys.stderr)
        libc.write(2, b"z" * 999, 999)
        print(full)
        let.set()
    """)
    assert done.code == 0
    assert 8_000 < int(done.out) < 10_000
    assert "lines of libraries were left out" in done.messages("native")[-1]


def test_the_end_waits_for_no_child_that_holds_standard_error() -> None:
    done = run(
        """
        heard = threading.Event()
        lines.subscribe(lambda line: heard.set())
        child = subprocess.Popen(["sh", "-c", "echo from a child >&2; exec sleep 30"], stdout=subprocess.DEVNULL)
        assert heard.wait(10)
        """,
        "child.kill(); child.wait()",
    )
    assert (done.code, done.messages("native")) == (0, ["from a child"])


def test_the_end_waits_for_no_child_that_prints_for_ever() -> None:
    """Each line takes two milliseconds here, so that the pipe is never empty."""
    done = run(
        """
        child = subprocess.Popen([sys.executable, "-c", FLOOD])
        heard = threading.Event()
        lines.subscribe(lambda line: (heard.set(), time.sleep(0.002)))
        assert heard.wait(10)
        """,
        """
        child.kill(); child.wait()
        assert len(os.listdir("/proc/self/fd")) == before, "the thread still reads"
        """,
        """
        FLOOD = "import os, contextlib\\nwhile True:\\n with contextlib.suppress(OSError): os.write(2, 9 * (b'x' * 6999 + b'\\\\n'))"
        before = len(os.listdir("/proc/self/fd"))
        """,
    )
    assert (done.code, done.messages("native")[0]) == (0, "x" * 2_000 + "[cut]")


def test_a_process_without_standard_error_runs() -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        ("/bin/sh", "-c", 'exec "$0" "$@" 2>&-', *program('log.info("x"); native(b"x\\n"); print("out")')),
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(  # noqa: S603 - our own program
            program('log.info("x"); native(b"x\\n"); log.info("%d", "x"); print("out")'),
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=DEADLINE,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"out\n")


@pytest.mark.parametrize(
    ("crash", "number"),
    [
        ("libc.abort()", signal.SIGABRT),
        ("ctypes.string_at(0)", signal.SIGSEGV),
        ("os.kill(os.getpid(), signal.SIGBUS)", signal.SIGBUS),
    ],
)
def test_a_crash_is_told_with_the_place_in_our_code(crash: str, number: signal.Signals) -> None:
    done = run(f'log.info("before"); {crash}', before="import signal")
    assert done.code == -number
    first, *rest = done.err.splitlines()
    assert json.loads(first)["message"] == "before"
    assert any("Fatal Python error" in line for line in rest)
    assert any('File "<string>"' in line for line in rest)


def test_a_terminal_gets_text_and_nothing_that_it_obeys() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own program
        program('log.info("node %s", "\\x1b[31m\\n\\u202e"); native(b"\\x1b[2J\\n")'), stderr=slave
    )
    os.close(slave)
    assert process.wait(DEADLINE) == 0
    shown = os.read(master, 65_536).decode()
    os.close(master)
    ours, native = shown.split("\r\n")[:2]
    assert ours.endswith("INFO    here: node \\x1b[31m\\n\\u202e")
    assert native.endswith("WARNING native: \\x1b[2J")
