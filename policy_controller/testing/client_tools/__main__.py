"""`python -m policy_controller.testing.client_tools`: fetches kubectl and helm where they are not there yet.

Ends with 1 and a sentence when they cannot be had, so that `make test` stops before it begins. On a machine that no
binary is made for it ends with 0: the tests that need them say so and are skipped.
"""

import click

from policy_controller.testing.client_tools.binaries import FetchError, UnfitMachineError, helm, kubectl


@click.command()
def main() -> None:
    """Fetch kubectl and helm for the tests; quick when they are there."""
    try:
        kubectl()
        helm()
    except UnfitMachineError as reason:
        click.echo(f"{reason}; tests with them will be skipped", err=True)
    except FetchError as fault:
        raise click.ClickException(f"kubectl and helm, which tests need, cannot be had: {fault}") from fault


if __name__ == "__main__":
    main()
