"""The page of settings, and the two tables it is made from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from policy_controller.cli.settings_page import PAGE, page
from policy_controller.controller.main import main as operator
from policy_controller.controller.settings import TABLE as OPERATOR
from policy_controller.controller.settings import Settings as OperatorSettings
from policy_controller.enforcer.main import main as enforcer
from policy_controller.enforcer.settings import TABLE as ENFORCER
from policy_controller.settings.faults import InvalidSettings
from policy_controller.settings.load import Sources, load
from policy_controller.settings.table import Table
from policy_controller.wire.channel import HostPort

GIVEN = {"NODE_NAME": "node-1", "POLICY_CONTROLLER_SERVICE_HOST": "10.96.0.7"}
GIVEN["POLICY_CONTROLLER_SERVICE_PORT"] = "9473"
PROGRAMS = pytest.mark.parametrize(
    ("command", "table"), [(operator, OPERATOR), (enforcer, ENFORCER)], ids=["operator", "enforcer"]
)


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == page(), (
        "write it anew: .venv/bin/python -m policy_controller.cli.settings_page"
    )


def test_the_page_tells_of_every_setting() -> None:
    text = page()
    for table in (OPERATOR, ENFORCER):
        for row in table.rows():
            assert f"| `{row.key}` |" in text
            assert all(f"`{variable}`" in text for variable in table.variables(row))


def test_what_the_page_shows_of_print_config_is_what_is_printed() -> None:
    shown = page().partition("--print-config\n")[2].partition("```")[0].replace("…\n", "").splitlines()
    done = subprocess.run(  # noqa: S603 - our own program
        (Path(sys.executable).with_name("policy-controller"), "--relist-seconds", "60", "--print-config"),
        env={"OPERATOR_LOG_LEVEL": "debug", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(shown) == 4
    assert set(shown) <= set(done.stdout.splitlines())


@PROGRAMS
def test_the_settings_of_a_program_can_be_printed_and_fed_back(
    command: Any,  # noqa: ANN401 - a command of click's, whose type has no common name
    table: Table[Any],
    tmp_path: Path,
) -> None:
    printed = CliRunner().invoke(command, ["--print-config"], env=GIVEN)
    assert printed.exit_code == 0
    (tmp_path / "c.yaml").write_text(printed.output)
    again = CliRunner().invoke(command, ["--print-config", "--config", str(tmp_path / "c.yaml")])
    assert again.exit_code == 0
    assert [line.partition("  # ")[0] for line in again.output.splitlines()] == [
        line.partition("  # ")[0] for line in printed.output.splitlines()
    ]
    assert again.output.count("c.yaml:") == len(table.rows())


@PROGRAMS
def test_the_help_names_every_flag_and_variable(command: Any, table: Table[Any]) -> None:  # noqa: ANN401 - as above
    words = "".join(CliRunner().invoke(command, ["--help"], terminal_width=500).output.split())
    for row in table.rows():
        assert row.flag in words
        assert all(variable in words for variable in table.variables(row))


@pytest.mark.parametrize(
    ("host", "address"), [("10.96.0.7", "10.96.0.7:9473"), ("fd00::7", "[fd00::7]:9473")]
)
def test_an_enforcer_finds_its_operator_by_the_variables_of_the_service(host: str, address: str) -> None:
    environment = {**GIVEN, "POLICY_CONTROLLER_SERVICE_HOST": host, "POD_NAMESPACE": "net"}
    settings = load(ENFORCER, Sources({}, environment, {})).settings
    assert settings.operator == HostPort.parse(address)
    assert settings.server_name == "policy-controller.net.svc"


@pytest.mark.parametrize("missing", ["POLICY_CONTROLLER_SERVICE_HOST", "POLICY_CONTROLLER_SERVICE_PORT"])
def test_an_enforcer_without_a_service_says_how_it_can_be_told(missing: str) -> None:
    environment = {name: value for name, value in GIVEN.items() if name != missing}
    with pytest.raises(
        InvalidSettings, match=r"operator: is missing: say it by one of --operator, .*SERVICE_HOST"
    ):
        load(ENFORCER, Sources({}, environment, {}))


@pytest.mark.parametrize(
    ("host", "port", "written"),
    [
        ("10.96.0.1", "443", "10.96.0.1:443"),
        ("fd00::1", "6443", "[fd00::1]:6443"),
        # Some providers put a name there, and rules know no names.
        ("api.example.org", "443", "none"),
        ("10.96.0.1", "0", "none"),
        ("10.96.0.1", "", "none"),
        ("", "443", "none"),
    ],
)
def test_an_enforcer_knows_by_its_environment_where_pods_call_the_api_server(
    host: str, port: str, written: str
) -> None:
    environment = {**GIVEN, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    settings = load(ENFORCER, Sources({}, environment, {})).settings
    assert str(settings.api_server) == written
    base = settings.base(("cni0",))
    assert (base.api_server, base.operator_port) == (settings.api_server.called, settings.operator.port)


@pytest.mark.parametrize(
    "text", ["api.example.org:443", "10.96.0.1", "10.96.0.1:0", "fd00::1:443", "None", ""]
)
def test_an_api_server_that_is_said_is_an_address_and_a_port(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^--api-server: "):
        load(ENFORCER, Sources({"api_server": text}, GIVEN, {}))


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "tlsKey"), ("tls_key", "tlsCert")])
def test_a_certificate_and_its_key_go_together(given: str, missing: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{missing}: is missing"):
        load(OPERATOR, Sources({given: "/tls/file"}, {}, {}))
    both = {"tls_cert": "/tls/tls.crt", "tls_key": "/tls/tls.key"}
    assert load(OPERATOR, Sources(both, {}, {})).settings.tls_key == Path("/tls/tls.key")


def test_the_operator_is_told_its_namespace_by_its_pod() -> None:
    assert load(OPERATOR, Sources({}, {"POD_NAMESPACE": "net"}, {})).settings.namespace == "net"
    assert load(OPERATOR, Sources({}, {}, {})).settings == OperatorSettings()
