"""The whole way, on the bundled radiographs and a synthetic export: what `make demo` runs.

Each step is a command that a user would type, printed before it runs. Stops at the first that fails.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
REAL_FILES = PROJECT / "tests" / "data" / "dicom"


def main() -> None:
    """Parse the arguments and walk through the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything the demo makes")
    parser.add_argument("--images", type=int, default=200, help="synthetic radiographs")
    parser.add_argument("--steps", type=int, default=120, help="pre-training steps")
    arguments = parser.parse_args()
    started_s = time.monotonic()
    out = arguments.out.resolve()
    make_folder(out)
    export = out / "export"
    shutil.copytree(REAL_FILES, export / "real")
    (out / "radio.toml").write_text('sources = ["export"]\ndataset = "shards"\n', encoding="utf-8")

    say("1. A PACS export: ten real radiographs and a synthetic part with the faults that exports have")
    radio(
        out,
        "synth",
        "export/synthetic",
        "--images",
        str(arguments.images),
        "--scale",
        "0.12",
        "--seed",
        "1",
        "--labels",
    )
    say("2. What is in it: headers only")
    radio(out, "scan")
    say("3. Shards: decoded, checked, de-identified, losslessly encoded, sorted into resolution bins, indexed")
    radio(out, "shard", "build", "--bins", "1152,...,3072", accept=(0, 3))
    say("4. Every byte checked")
    radio(out, "shard", "verify")
    say("5. The index answers SQL")
    radio(out, "query", "region='Knee'", "--limit", "5")
    radio(out, "query", "region='Knee'", "--count")
    say("6. Pre-training a small masked autoencoder on the synthetic radiographs")
    small = "rows <= 600 and columns <= 600"
    run = ["--preset", "tiny", "--where", small, "--run", "runs/demo", "--set", f"run.max_steps={arguments.steps}"]
    radio(out, "train", "pretrain", *run)
    say("7. Validation images: original, masked, reconstructed")
    radio(out, "train", "reconstruct", "runs/demo", "--out", "reconstruction.png")
    report(out, time.monotonic() - started_s)


def make_folder(out: Path) -> None:
    """Make `out`, replacing only what an earlier demo made."""
    marker = out / ".radio-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        sys.exit(f"{out} is not empty and was not made by the demo; give --out another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    marker.touch()


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def radio(folder: Path, *arguments: str, accept: tuple[int, ...] = (0,)) -> None:
    """Run `radio` in `folder`, showing the command; end the demo where it fails."""
    shown = " ".join(f'"{argument}"' if " " in argument or "'" in argument else argument for argument in arguments)
    print(f"$ radio {shown}", flush=True)
    command = [str(Path(sys.executable).parent / "radio"), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "RADIO_DATASET"}
    code = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if code not in accept:
        sys.exit(f"demo: this command ended with code {code}")


def report(out: Path, elapsed_s: float) -> None:
    """Say what came out and where it lies; fail if the loss did not clearly fall."""
    lines = (out / "runs/demo/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    first, last = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    say("Done")
    print(f"loss        {first:.4f} (first five steps) -> {last:.4f} (last five), {last / first:.0%}")
    print(f"time        {elapsed_s:.0f} s")
    print(f"export      {out / 'export'}")
    print(f"shards      {out / 'shards'}          safe to share")
    print(f"private     {out / 'shards.private'}  key, paths, rejects: keep it")
    print(f"index       {out / 'shards/index.duckdb'}")
    print(f"run         {out / 'runs/demo'}")
    print(f"look at     {out / 'reconstruction.png'}")
    if last > 0.6 * first:
        sys.exit("demo: the loss did not fall to 60 % of where it began")


if __name__ == "__main__":
    main()
