"""The command line: options, help, exit codes, one line for every failure."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from imgclust import __version__
from imgclust.cli import app, watch_output
from imgclust.collection import Collection, Event
from imgclust.errors import LockedError, MissingPackageError
from imgclust.locks import FileLock
from tests.command_line import QUICK, Run, Said
from tests.conftest import write_picture

COMMANDS = (
    *("watch", "add", "query", "sweep", "cluster", "clusters", "clusters show", "clusters name"),
    *("view", "links", "status", "quarantine", "quarantine retry", "missing", "missing accept"),
    *("collections", "collections list", "collections create", "collections rename"),
    *("collections delete", "config", "config show"),
    *(
        "doctor",
        "remove",
        "report",
        "weights",
        "weights list",
        "weights download",
        "weights verify",
    ),
)
HEAVY = {
    *("tensorflow", "keras", "faiss", "sklearn", "matplotlib", "openTSNE", "scipy", "numpy"),
    *("PIL", "apsw", "rich"),
}


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


@pytest.fixture
def ready(made: Path, tmp_path: Path) -> Path:
    """A copy of the ingested index of `made`, in the index folder of `run`."""
    shutil.copytree(made / "index", tmp_path / "index", symlinks=True)
    return made


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, run: Run) -> None:
    said = run(*command.split(), "--help")
    assert said.code == 0
    examples = said.out[said.out.index("Example") :].splitlines()[1:]
    assert all(line.startswith(f"  imgclust {command}") for line in examples)
    assert "--index DIR" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_help_is_whole_on_every_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    group: Any = typer.main.get_command(app)
    for name, command in {"": group, **group.commands}.items():
        below = getattr(command, "commands", {}) if name else {}
        for names in [[name] if name else [], *([name, one] for one in below)]:
            monkeypatch.setenv("COLUMNS", "400")
            whole = "".join(run(*names, "--help").out.split())
            for columns in (40, 60, 80):
                monkeypatch.setenv("COLUMNS", str(columns))
                shown = run(*names, "--help").out
                assert max(map(len, shown.splitlines())) <= columns
                assert "".join(shown.replace("\\\n", "").split()) == whole
    assert "print or send." in " ".join(run("--help").out.split())


def test_help_names_every_command(run: Run) -> None:
    said = run("-h")
    assert {command.split()[0] for command in COMMANDS} <= set(said.out.split())


def test_version(run: Run) -> None:
    assert run("--version") == Said(0, f"imgclust {__version__}\n", "")


@pytest.mark.parametrize("arguments", ["--help", "watch --help", "--version"])
def test_help_and_version_load_nothing_heavy(arguments: str) -> None:
    code = (
        "import sys; from imgclust.cli import main; code = main(sys.argv[1:])\n"
        "print(code, *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, check=True
    )
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert not HEAVY & set(loaded)


def test_commands_without_the_packages_say_which_extra_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(package: str) -> None:
        raise MissingPackageError(f"{package} is not installed; install one of the extras")

    monkeypatch.setattr("imgclust.devices.require", absent)
    assert "extras" in run("status").refused(1)
    assert run("--version").code == run("status", "--help").code == 0


# Usage errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "no command given"),
        ("wach", "Did you mean 'watch'"),
        ("status --collection=", "--collection is empty"),
        ("status --index=", "--index is empty"),
        ("view --out=", "--out is empty"),
        ("query", "missing argument 'IMAGE|ID'; see imgclust query --help"),
        ("query 1 -n x", "'-n'"),
        ("query 1 -n 0", "'-n'"),
        ("query 1 --frob", "--frob"),
        ("links --link-mode x", "symlink"),
        ("clusters show", "missing argument 'CLUSTER'"),
        ("cluster -k 0", "'0' is neither auto"),
        ("cluster -k many", "'many' is neither auto"),
        ("cluster --undo -k 3", "--undo"),
        ("cluster --dry-run --pca-dims 3", "--pca-dims"),
        ("sweep --k-min 9 --k-max 3", "9 to 3"),
        ("view --dims 4", "--dims"),
        ("view --out map.gif", ".png or .svg"),
        ("links --check --dry-run", "alone"),
        ("links --check --link-mode copy", "alone"),
        ("links --folder {what}", "{what}"),
        ("watch --settle-s soon", "--settle-s"),
        ("watch --settle-s -1", "settle_s"),
        ("status --collection a/b", "name of a collection"),
        ("status --config nosuch", "no configuration is called 'nosuch'"),
        ("status --config no/such.toml", "does not exist"),
        ("weights verify nosuch.h5", "nosuch.h5"),
    ],
)
def test_usage_errors_are_one_line(arguments: str, words: str, run: Run, ready: Path) -> None:
    assert words in run(*arguments.split()).refused(2)


def test_a_bad_configuration_file_is_named_with_the_right_key(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    (tmp_path / "my.toml").write_text("[watch]\nsettel_s = 2\n")
    said = run("status", "--config", tmp_path / "my.toml").refused(2)
    assert "did you mean watch.settle_s" in said
    (tmp_path / "my.toml").write_text("[watch\n")
    assert "cannot be read" in run("status", "--config", tmp_path / "my.toml").refused(2)


def test_failures_are_a_document_with_json(run: Run) -> None:
    said = run("status", "--json")
    assert (said.code, said.err) == (3, "")
    error = said.document["error"]
    assert isinstance(error, dict)
    assert error.keys() == {"code", "message"}
    assert error["code"] == "nothing"
    said = run("--json", "query")
    assert said.code == 2
    assert said.document["error"] == {
        "code": "usage",
        "message": "missing argument 'IMAGE|ID'; see imgclust query --help",
    }


# Folders and files


def test_an_absent_folder_and_a_file_make_no_collection(run: Run, tmp_path: Path) -> None:
    assert "does not exist" in run("watch", tmp_path / "nowhere").refused(2)
    picture = write_picture(tmp_path / "one.png", 1)
    assert "use imgclust add" in run("watch", picture).refused(2)
    assert "does not exist" in run("add", tmp_path / "nowhere").refused(2)
    assert not (tmp_path / "index").exists()


def test_an_unreadable_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drop").mkdir()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert "cannot be read" in run("watch", "--once", tmp_path / "drop").refused(2)


def test_an_index_folder_that_cannot_be_written(run: Run, tmp_path: Path, drop: Path) -> None:
    said = run("watch", "--once", drop, "--index", "/proc/index").refused(1)
    assert "--index DIR" in said


def test_an_empty_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    said = run("watch", "--once", tmp_path / "drop")
    assert said.code == 0
    assert said.out.startswith("0 files: 0 ingested, 0 reused, 0 skipped, 0 quarantined")
    assert run("status").code == 0
    for command in ("sweep", "cluster", "clusters", "view", "query 1"):
        assert run(*command.split()).code == 3
    assert run("links").code == 0


def test_one_image(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "drop" / "one.png", 1)
    assert run("watch", "--once", tmp_path / "drop").code == 0
    for command in ("sweep", "cluster", "cluster -k 5", "clusters", "view", "query 1", "links"):
        assert run(*command.split()).code == 0
    assert run("--json", "clusters").document.keys() == {"clusters", "suggestions"}


def test_fewer_images_than_k(run: Run, ready: Path) -> None:
    said = run("--json", "cluster", "-k", "500")
    assert said.code == 0
    assert said.document["k"] == 24


def test_things_that_are_not_there(run: Run, ready: Path) -> None:
    assert "no image has the id 999" in run("query", "999").refused(3)
    assert "there is no file" in run("query", "./999").refused(3)
    assert "there is no cluster 99" in run("clusters", "show", "99").refused(3)
    assert "there is no cluster 99" in run("clusters", "name", "99", "x").refused(3)
    assert run("remove", "999").refused(3)
    for digits in ("9" * 19, "9" * 5000):
        assert "no image has the id" in run("query", digits).refused(3)
        assert "no image of the collection" in run("remove", digits).refused(3)
    assert "not in quarantine" in run("quarantine", "retry", "x.jpg").refused(3)
    said = run("status", "--collection", "other").refused(3)
    assert "index" in said
    assert "there are default" in said


# Locks, faults, signals


def test_a_second_ingest_is_refused(run: Run, ready: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / "index" / "default" / "ingest.lock", purpose="ingesting into"):
        assert "another process" in run("watch", "--once").refused(LockedError.exit_code)
    with FileLock(tmp_path / "index" / "default" / "clustering.lock", purpose="clustering"):
        assert "another process" in run("cluster").refused(4)


def test_a_fault_is_one_line_and_a_traceback_only_when_asked(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(self: Collection) -> None:
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(Collection, "status", fault)
    line = run("status").refused(1)
    assert "internal error: ZeroDivisionError: by chance" in line
    said = run("-v", "status", "-v")
    assert "Traceback" in said.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watcher_that_is_asked_to_stop_ends_with_0(
    number: signal.Signals, run: Run, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = signal.getsignal(number), signal.getsignal(signal.SIGHUP)
    _at_first_picture(monkeypatch, lambda: os.kill(os.getpid(), number))
    said = run("watch", drop, "--no-cluster", "-v")
    assert said.code == 0
    assert " ingested, " in said.out.splitlines()[-2]
    assert (signal.getsignal(number), signal.getsignal(signal.SIGHUP)) == handlers


def test_an_interrupted_pass_ends_with_130(
    run: Run, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at_first_picture(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    said = run("watch", "--once", drop)
    assert said.code == 130
    assert "interrupted" in said.err
    assert run("watch", "--once").code == 0


def test_a_hang_up_does_not_end_a_watcher(
    run: Run, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)

    _at_first_picture(monkeypatch, hang_up)
    assert run("watch", drop).code == 0


def test_a_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal\n"
        "from imgclust.cli import context\n"
        "def stubborn(call):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert call.stop.is_set()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
        "context.perform(context.Globals(), stubborn)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")


def test_a_closed_pipe_is_no_failure(run: Run, ready: Path, tmp_path: Path) -> None:
    code = "import sys; from imgclust.cli import app; sys.argv[1:] = ['query', '1']; app()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, **QUICK, "IMGCLUST_INDEX": str(tmp_path / "index")},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_behind_standard_output_is_said(ready: Path, tmp_path: Path) -> None:
    code = "import sys; from imgclust.cli import app; sys.argv[1:] = ['status']; app()"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "IMGCLUST_INDEX": str(tmp_path / "index")},
        )
    assert done.returncode == 1
    said = b"imgclust: the system refuses: the disk is full; free some space\n"
    assert done.stderr == said


def _at_first_picture(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act once, in the main thread, when the first picture has been ingested."""
    acted = threading.Event()
    before = watch_output.Listener.__call__

    def hear(self: watch_output.Listener, event: Event) -> None:
        before(self, event)
        if event.kind == "ingested" and not acted.is_set():
            acted.set()
            act()

    monkeypatch.setattr(watch_output.Listener, "__call__", hear)
