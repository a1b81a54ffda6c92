"""policyctl compile, through the installed script: deterministic, loadable, and closed where input is broken."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from compilers.nftables.reader import read
from policy_controller.cli.tests.running import POLICYCTL, policyctl
from policy_controller.testing.namespaces import PrivateNamespace

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}]
"""


def pod(name: str, address: str, node: str = "node-a") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{namespace: shop, name: {name}, uid: uid-{name}, labels: {{app: {name}}}}}
spec: {{nodeName: {node}, containers: [{{name: c, image: i}}]}}
status: {{phase: Running, podIPs: [{{ip: {address}}}]}}
"""


DOCUMENTS = (NAMESPACE, pod("db", "10.244.1.2"), pod("web", "10.244.2.2", "node-b"), POLICY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, document in enumerate(DOCUMENTS):
        (tmp_path / f"{number}.yaml").write_text(document)
    return tmp_path


def test_json_says_what_the_policy_admits(folder: Path) -> None:
    done = policyctl("compile", str(folder), "--node", "node-a", "--output", "json")

    assert done.returncode == 0, done.stderr
    rule_set = json.loads(done.stdout)
    assert rule_set["schema"] == "ruleset/v1"
    assert [one["name"] for one in rule_set["pods"]] == ["db"]
    (ingress,) = rule_set["classes"]
    assert ingress["policies"] == ["shop/db"]
    (rule,) = ingress["rules"]
    assert rule["ports"] == {"protocol": "TCP", "first": 5432, "last": 5432}
    (peers,) = rule_set["peerSets"]
    assert rule["peer"] == peers["name"]
    assert peers["addresses"] == ["10.244.2.2"]


@pytest.mark.parametrize("output", ["nft", "json"])
def test_the_same_objects_give_the_same_bytes_in_any_order_and_file(folder: Path, output: str) -> None:
    flags = ("--node", "node-a", "-o", output)
    expected = policyctl("compile", str(folder), *flags)
    shuffled = "\n---\n".join(reversed(DOCUMENTS)).encode()
    assert policyctl("compile", "-", *flags, stdin=shuffled).stdout == expected.stdout
    files = sorted(map(str, folder.iterdir()), reverse=True)
    assert policyctl("compile", *files, *flags).stdout == expected.stdout


@pytest.mark.kernel
def test_nft_output_is_a_rule_set_that_the_kernel_loads(folder: Path) -> None:
    text = policyctl("compile", str(folder), "--node", "node-a").stdout
    with PrivateNamespace() as network:
        loaded = network.run(
            lambda: subprocess.run(["/usr/sbin/nft", "-f", "-"], input=text, capture_output=True, check=False)
        )
    assert loaded.returncode == 0, loaded.stderr
    assert b"tcp dport 5432 ip saddr @p4-" in text


def test_a_broken_policy_is_named_and_closes_its_pods(folder: Path) -> None:
    (folder / "3.yaml").write_text(POLICY.replace("port: 5432", "prot: 5432"))

    done = policyctl("compile", str(folder), "--node", "node-a", "-o", "json")

    assert done.returncode == 2
    assert b"3.yaml:9:" in done.stderr
    assert b".prot: there is no such field" in done.stderr
    (ingress,) = json.loads(done.stdout)["classes"]
    assert ingress["rules"] == []


def test_what_decides_nothing_is_counted_and_what_is_misspelt_is_broken_input(folder: Path) -> None:
    (folder / "4.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n"
        'apiVersion: v1\nkind: "Sec\\e[31mret"\nmetadata: {name: a}\n'
    )
    done = policyctl("compile", str(folder), "--node", "node-a")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [rb"skipped: 1 Sec\x1b[31mret", b"skipped: 1 Service"]

    (folder / "3.yaml").write_text(POLICY.replace("NetworkPolicy", "networkpolicy"))
    done = policyctl("compile", str(folder), "--node", "node-a")
    assert done.returncode == 2
    assert b"3.yaml:3:1:" in done.stderr
    assert b"did you mean NetworkPolicy?" in done.stderr


UNREADABLE = "/proc/self/mem"
EIO = os.strerror(errno.EIO)


def test_what_the_system_does_not_let_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    assert one_line(policyctl("compile", UNREADABLE, "--node", "a")) == f"Error: {UNREADABLE}: {EIO}"

    (tmp_path / "a.yaml").symlink_to("nowhere\x1b[31m")
    said = one_line(policyctl("compile", str(tmp_path), "--node", "a"))
    assert said == f"Error: {tmp_path}/a.yaml: No such file or directory"


def one_line(done: subprocess.CompletedProcess[bytes], code: int = 2) -> str:
    assert done.returncode == code
    (line,) = done.stderr.decode().splitlines()
    return line


def test_a_full_device_is_said_in_one_line(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(  # noqa: S603 - our own program
            [str(POLICYCTL), "compile", str(folder), "--node", "node-a"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert one_line(done, 1) == "Error: standard output: No space left on device"


def test_a_reader_that_has_left_is_no_failure_to_tell(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(  # noqa: S603 - our own program
        [str(POLICYCTL), "compile", str(folder), "--node", "node-a"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("/nowhere", "--node", "a"), 2, b"no such file"),
        ((".",), 2, b"--node"),
        (("--node", "a"), 2, b"PATH"),
        (("-", "--node", "a", "--pod-interfaces", "cni0;drop"), 2, b"--pod-interfaces"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_2(flags: tuple[str, ...], code: int, said: bytes) -> None:
    done = policyctl("compile", *flags)
    assert done.returncode == code
    assert said in done.stderr


def test_no_input_gives_the_base_alone_and_says_that_the_node_is_unknown() -> None:
    done = policyctl("compile", "-", "--node", "elsewhere\x1b[31m")
    assert done.returncode == 0
    assert b"no pod of the input runs on node" in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"table inet policy-controller" in done.stdout


def test_hostile_names_stay_out_of_the_rule_set() -> None:
    name = "x-accept-add-rule"
    documents = (NAMESPACE, pod("db", "10.244.1.2"), POLICY.replace("name: db", f"name: {name}"))
    text = policyctl(
        "compile", "-", "--node", "node-a", stdin="\n---\n".join(documents).encode()
    ).stdout.decode()
    assert name not in text
    inet, bridge = text.split("table bridge")
    assert read(inet).name == read("table bridge" + bridge).name == "policy-controller"


def test_an_example_is_placed_as_the_demo_places_it() -> None:
    example = Path(__file__).parents[3] / "examples" / "three-tier"
    flags = ("--place", "--node", "node-a", "-o", "json")

    done = policyctl("compile", str(example), *flags)

    assert done.returncode == 0, done.stderr
    pods = {one["name"]: one["addresses"] for one in json.loads(done.stdout)["pods"]}
    assert pods["web-1"] == ["10.244.1.13", "fd10:244:1::d"]
