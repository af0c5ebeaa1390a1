"""The command line as a user meets it: real processes, exit codes, what goes to stdout and what to stderr."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from radio_cli.main import app
from radio_cli.reference import walk_commands
from radio_io.benchmarks.startup import measure_commands
from radio_io.layout import DatasetLayout
from radio_io.sharding.locking import locked

RADIO = str(Path(sys.executable).parent / "radio")


def radio(*arguments, cwd=None, **environment):
    variables = {name: value for name, value in os.environ.items() if name != "RADIO_DATASET"} | environment
    return subprocess.run([RADIO, *arguments], capture_output=True, text=True, cwd=cwd, env=variables, check=False)


def commands(command=None, path=()):
    """Every command of the tree with its path."""
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_has_help_with_an_example(path, command):
    assert command.help, path
    assert "Example" in (command.epilog or ""), path
    for parameter in command.params:
        if parameter.name not in ("help", "install_completion", "show_completion"):
            assert getattr(parameter, "help", None), f"{path} {parameter.name}"


def test_the_three_lines_work_in_a_folder_that_names_its_source(built, tmp_path):
    (tmp_path / "radio.toml").write_text(f'sources = ["{built.export}"]\n', encoding="utf-8")
    build = radio("shard", "build", "--bins", "1152,...,3072", "--json", cwd=tmp_path)
    assert build.returncode == 0, build.stderr
    summary = json.loads(build.stdout)
    assert summary["images"] + sum(summary["rejects"].values()) == summary["found"]
    count = radio("query", "region='Knee'", "--count", cwd=tmp_path)
    assert int(count.stdout) > 0
    train = radio("train", "pretrain", "--preset", "tiny", "--set", "run.max_steps=2", "--json", cwd=tmp_path)
    assert train.returncode == 0, train.stderr
    assert json.loads(train.stdout)["steps"] == 2
    assert (tmp_path / "runs/tiny/summary.json").exists()
    sheet = radio("train", "reconstruct", "runs/tiny", "--out", "sheet.png", "--images", "2", cwd=tmp_path)
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG", sheet.stderr
    replayed = json.loads(radio("replay", "runs/tiny", "--step", "1", "--json", cwd=tmp_path).stdout)
    assert replayed["step"] == 1
    assert replayed["keys"]
    embedded = radio("train", "embed", "runs/tiny", "--out", "e.parquet", "--split", "train", "--json", cwd=tmp_path)
    assert embedded.returncode == 0, embedded.stderr
    assert (tmp_path / "e.parquet").exists()
    for layout in ("hf", "timm", "safetensors"):
        exported = radio("train", "export", "runs/tiny", "--format", layout, "--out", f"w-{layout}", cwd=tmp_path)
        assert exported.returncode == 0, exported.stderr
        assert (tmp_path / f"w-{layout}" / "model.safetensors").exists()


@pytest.mark.parametrize("output_format", ["table", "csv", "json", "parquet"])
def test_query_formats(built, tmp_path, output_format):
    out = tmp_path / "out"
    done = radio("query", "region='Knee'", "--format", output_format, "--out", str(out), "--dataset", str(built.root))
    assert done.returncode == 0, done.stderr
    expected = int(radio("query", "region='Knee'", "--count", "--dataset", str(built.root)).stdout)
    if output_format == "json":
        assert len(json.loads(out.read_text())) == expected
    elif output_format == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(out).num_rows == expected
    else:
        assert len(out.read_text().splitlines()) == expected + (1 if output_format == "csv" else 2)


def test_keys_feed_training(built, tmp_path):
    keys = tmp_path / "keys.txt"
    where = "rows <= 600 and columns <= 600 and split = 'train'"
    radio("query", where, "--keys", "--limit", "8", "--out", str(keys), "--dataset", str(built.root))
    arguments = ["--preset", "tiny", "--keys", str(keys), "--run", str(tmp_path / "r"), "--dataset", str(built.root)]
    dry = radio("train", "pretrain", *arguments, "--dry-run")
    assert "8 images" in dry.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "regoin='Knee'"], 2, "did you mean region"),
        (["query", "region=Knee"], 2, "text needs quotes"),
        (["query", "true", "--dataset", "/nowhere/shards"], 1, "no index"),
        (["shard", "build"], 2, "no source"),
        (["shard", "build", "/nowhere", "--bins", "3,2,1"], 2, "bins"),
        (["shard", "verify", "--dataset", "/nowhere/shards"], 1, "no dataset"),
        (["train", "pretrain", "--preset", "huge"], 2, "unknown preset"),
        (["train", "reconstruct", "/nowhere"], 1, "no run folder"),
        (["key", "show-id", "--dataset", "/nowhere/shards"], 1, "no pseudonym key"),
    ],
)
def test_errors_are_one_message_without_a_traceback(built, tmp_path, arguments, code, message):
    if "--dataset" not in arguments and arguments[0] == "query":
        arguments = [*arguments, "--dataset", str(built.root)]
    done = radio(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_rejects_above_the_rate_end_with_code_3(built, tmp_path):
    options = ["--dataset", str(tmp_path / "d"), "--max-reject-rate", "0.001", "--workers", "1"]
    done = radio("shard", "build", str(built.export), *options)
    assert done.returncode == 3
    assert "max-reject-rate" in done.stderr


@pytest.mark.parametrize("command", [["scan"], ["shard", "build"]])
def test_dry_run_writes_nothing(built, tmp_path, command):
    done = radio(*command, str(built.export), "--dataset", str(tmp_path / "d"), "--dry-run")
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_info_bins_rejects_index_and_ls(built):
    dataset = ["--dataset", str(built.root)]
    info = json.loads(radio("shard", "info", "--json", *dataset).stdout)
    assert info["images"] == built.summary.images
    assert json.loads(radio("rejects", "--json", *dataset).stdout)
    suggestion = json.loads(radio("bins", "suggest", "--cutoffs", "2", "--json", *dataset).stdout)
    assert suggestion["best cut-offs"]["tokens"] <= suggestion["fixed size"]["tokens"]
    index = built.root / "index.duckdb"
    before = index.stat().st_mtime_ns
    dry = radio("index", "rebuild", "--dry-run", *dataset)
    assert f"from {built.summary.shards} records; nothing was written" in dry.stdout
    assert index.stat().st_mtime_ns == before
    with locked(DatasetLayout(built.root)):
        busy = radio("index", "rebuild", *dataset)
    assert busy.returncode == 1
    assert "another radio" in busy.stderr
    assert radio("index", "rebuild", *dataset).returncode == 0
    assert json.loads(radio("shard", "info", "--json", *dataset).stdout) == info
    assert len(json.loads(radio("shard", "ls", "--json", *dataset).stdout)) == built.summary.shards


@pytest.mark.parametrize("arguments", ["query --format csv", "query --format json", "shard info", "--help"])
def test_a_closed_pipe_is_no_error(built, arguments):
    dataset = "" if arguments == "--help" else f"--dataset {built.root}"
    script = f"set -o pipefail; {RADIO} {arguments} {dataset} | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_mistake_of_the_program_is_one_message_without_its_values(tmp_path):
    # What a command cannot have foreseen: the message names places of the code, never values, unless asked for.
    code = (
        "import radio_cli.query, radio_cli.main\n"
        "import radio_io.index.query as module\n"
        "def fail(*_): raise ZeroDivisionError('secret of a patient')\n"
        "module.run_query = fail\n"
        "radio_cli.main.main()"
    )
    for arguments, shown in ((["query"], False), (["--debug", "query"], True)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 1
        assert ("Traceback" in done.stderr, "secret" in done.stderr) == (shown, shown)
        assert shown or done.stderr.startswith("error: ZeroDivisionError at ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shard", "bild"], "Did you mean 'build'?"),
        (["query", "--colums", "key"], "--columns"),
        (["query", "true", "--columns", "key,regoin"], "unknown column 'regoin'; did you mean region?"),
        (["train", "pretrain", "--set", "run.max_step=3", "--dry-run"], "did you mean run.max_steps?"),
    ],
)
def test_suggests_what_was_meant(built, arguments, message):
    done = radio(*arguments, cwd=built.root.parent)
    assert done.returncode == 2
    assert message in done.stderr


def test_completes_in_a_shell():
    def offered(line):
        words = {"_RADIO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return radio(**words).stdout.split()

    assert offered("radio shard b") == ["build"]
    assert "--columns" in offered("radio query --co")
    # Which shell runs the tests is not known: it is named, which Typer allows where it does not look for it.
    named = radio("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete" in named.stdout


def test_tables_are_whole_in_a_pipe_and_without_colour(built):
    done = radio("shard", "info", "--dataset", str(built.root), NO_COLOR="1")
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    narrow = radio("shard", "info", "--dataset", str(built.root), COLUMNS="30")
    assert narrow.returncode == 0
    assert max(len(line) for line in narrow.stdout.splitlines() if line.startswith("│")) <= 30


def test_a_rebinned_dataset_is_queried_trained_on_and_verified(built, tmp_path):
    bins = ["--bins", "200,700", "--out", "new", "--workers", "2"]
    planned = radio("shard", "rebin", *bins, "--dataset", str(built.root), "--dry-run", "--json", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    done = radio("shard", "rebin", *bins, "--dataset", str(built.root), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    new = ["--dataset", "new"]
    assert radio("shard", "verify", *new, cwd=tmp_path).returncode == 0
    count = int(radio("query", "true", "--count", *new, cwd=tmp_path).stdout)
    assert count == json.loads(planned.stdout)["images"] > 0
    train = radio("train", "pretrain", "--preset", "tiny", "--set", "run.max_steps=1", *new, cwd=tmp_path)
    assert train.returncode == 0, train.stderr
    merged = radio("shard", "merge", "new", "new", "--out", "two", cwd=tmp_path)
    assert merged.returncode == 2
    assert "name each once" in merged.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["query", "true", "--count"]])
def test_starts_without_torch(built, arguments):
    if arguments[0] == "query":
        arguments = [*arguments, "--dataset", str(built.root)]
    code = (
        "import sys; from radio_cli.main import app\n"
        f"sys.argv = ['radio', *{arguments!r}]\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pydicom', 'imagecodecs'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_help_answers_at_once():
    # Ten times what a quiet machine needs: this is a guard against heavy imports, bench/startup.py measures.
    times = []
    for _ in range(3):
        began = time.perf_counter()
        radio("--help")
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 1.5


def test_doctor_checks_the_installation_without_a_dataset(tmp_path):
    done = radio("doctor", "--install", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"group", "name", "found", "verdict", "advice"} == set(found[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_help_takes_less_than_half_a_second_of_cpu():
    # CPU time, the least of three: other processes on the machine hardly count. bench/startup.py prints the table.
    paths = [path for path, _ in walk_commands(typer.main.get_command(app))]
    found = measure_commands({" ".join(path): [RADIO, *path, "--help"] for path in paths}, repetitions=3)
    assert not {cost.name: cost.least_cpu_s for cost in found if cost.least_cpu_s > 0.5}
