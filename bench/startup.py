"""How much CPU short commands take as whole processes, and every command's `--help`: a table.

python bench/startup.py                    every --help, beside bare Python
python bench/startup.py --dataset shards   counts in its index too, beside a bare DuckDB count
"""

import argparse
import sys
from pathlib import Path

import typer

from radio_cli.main import app
from radio_cli.reference import walk_commands
from radio_io.benchmarks.startup import measure_commands, start_commands

RADIO = str(Path(sys.executable).parent / "radio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="a built dataset")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    commands = start_commands(arguments.dataset)
    for path, _ in walk_commands(typer.main.get_command(app)):
        commands[" ".join(("radio", *path, "--help"))] = [RADIO, *path, "--help"]
    print(f"{'command':36}{'least CPU s':>12}{'median':>9}{'clock s':>9}")
    for cost in measure_commands(commands, repetitions=arguments.repetitions):
        print(f"{cost.name:36}{cost.least_cpu_s:12.3f}{cost.cpu_s:9.3f}{cost.wall_s:9.3f}")


if __name__ == "__main__":
    main()
