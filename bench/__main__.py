"""`python -m bench NAME`: runs one benchmark and prints its metrics.

Knows the benchmarks by name. Each is a module beside this one with a function `measure`.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Final

import click

from bench import compile_node, event_to_kernel, kernel_apply, packet_path, saved_rule_set
from bench.measure import Measured

BENCHMARKS: Final[Mapping[str, Callable[[], Measured]]] = {
    "apply": kernel_apply.measure,
    "compile": compile_node.measure,
    "event": event_to_kernel.measure,
    "packets": packet_path.measure,
    "save": saved_rule_set.measure,
}
WITHOUT_ROOT: Final = ("compile", "save")
"""All others need root."""

FORMATS: Final = ("text", "json")


@click.command()
@click.argument("name", type=click.Choice(sorted(BENCHMARKS)))
@click.option("-o", "--output", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
def main(name: str, output: str) -> None:
    """Measure one thing and print it: `{"name", "metrics"}` as JSON, or one metric a line."""
    if name not in WITHOUT_ROOT and os.geteuid() != 0:
        raise click.ClickException("needs root: it makes network namespaces and loads nftables rule sets")
    measured = BENCHMARKS[name]()
    if output == "json":
        click.echo(json.dumps({"name": measured.name, "metrics": dict(measured.metrics)}, indent=2))
        return
    width = max(map(len, measured.metrics))
    for metric, value in measured.metrics.items():
        click.echo(f"{metric:<{width}}  {value:>12,.3f}")


if __name__ == "__main__":
    main()
