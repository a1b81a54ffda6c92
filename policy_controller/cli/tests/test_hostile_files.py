"""Every hostile text through policyctl: it ends in order, and nothing that it prints is syntax to a terminal."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from policy_controller.cli.main import main
from policy_controller.testing.hostile.files import GOOD, TEXTS


@pytest.mark.parametrize("name", TEXTS)
def test_policyctl_ends_in_order_and_prints_no_control_characters(name: str, tmp_path: Path) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_bytes(TEXTS[name] + GOOD)
    done = CliRunner().invoke(main, ["compile", str(file), "--node", "node-a"])
    assert done.exit_code in {0, 2}, done.output[-500:]
    assert done.exception is None or isinstance(done.exception, SystemExit)
    lines = done.output.replace("\t", " ").splitlines()
    assert all(line.isprintable() and len(line) < 4_000 for line in lines)
