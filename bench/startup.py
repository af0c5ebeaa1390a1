"""How long short commands take as whole processes: median of ten, beside bare Python and a bare DuckDB count."""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

RADIO = str(Path(sys.executable).parent / "radio")
REPETITIONS = 10


def measure(command: list[str]) -> tuple[float, float, float]:
    """Least, median and greatest seconds of a command."""
    times = []
    for _ in range(REPETITIONS + 1):
        began_s = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began_s)
    return min(times[1:]), statistics.median(times[1:]), max(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="a built dataset")
    dataset = parser.parse_args().dataset
    index = dataset / "index.duckdb"
    floor = (
        f"import duckdb; duckdb.connect({str(index)!r}, read_only=True).sql('select count(*) from images').fetchall()"
    )
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python + duckdb count": [sys.executable, "-c", floor],
        "radio --help": [RADIO, "--help"],
        "radio query ... --count": [RADIO, "query", "region='Knee'", "--count", "--dataset", str(dataset)],
    }
    print(f"{'command':28}{'min s':>8}{'median':>8}{'max':>8}")
    for name, command in commands.items():
        low, middle, high = measure(command)
        print(f"{name:28}{low:8.3f}{middle:8.3f}{high:8.3f}")


if __name__ == "__main__":
    main()
