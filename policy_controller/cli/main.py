"""The command `policyctl`: one group, a module a command.

Knows which commands there are. Knows nothing of what they do.
"""

import click

from policy_controller.cli.chaos_command import chaos_command
from policy_controller.cli.compile_command import compile_command
from policy_controller.cli.demo.command import demo_command
from policy_controller.cli.enforcement_command import enforcement_command
from policy_controller.cli.status_command import status_command
from policy_controller.cli.wait_command import wait_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="policy-controller")
def main() -> None:
    """Understand and try out Kubernetes network policies, and ask a running operator."""


main.add_command(chaos_command)
main.add_command(compile_command)
main.add_command(demo_command)
main.add_command(enforcement_command)
main.add_command(status_command)
main.add_command(wait_command)
