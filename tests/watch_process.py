"""A process that works on a collection and can be killed: MODE INDEX [PATH...].

MODE is watch, once, add, retry, cluster, ask, accept, move (a folder PATH to another PATH), backup
(to PATH) or restore (from PATH). With TEST_IMGCLUST_BACKBONE set the real network is used; else one
of the same shape that takes no time. Each event is a line: kind, path in hexadecimal.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from imgclust.collection import Collection, Event, embedder, restore_collection
from imgclust.errors import ImgclustError
from imgclust.progress import StopFlag
from tests.fakes import FakeEmbedder


def fake_embedder(*_: Any, **__: Any) -> FakeEmbedder:
    """An embedder of the same shape as the real one."""
    return FakeEmbedder(dimensions=2048)


def say(*words: object) -> None:
    """One line, at once."""
    sys.stdout.write(" ".join(map(str, words)).replace("\n", " ") + "\n")
    sys.stdout.flush()


def emit(event: Event) -> None:
    """Say what happened, for the one who drives."""
    path = "-" if event.path is None else event.path.hex()
    say(event.kind, path, event.sentence)


def main(mode: str, index: str, *paths: str) -> int:
    """Do the work; returns the exit code of the error, or 0."""
    if not os.environ.get("TEST_IMGCLUST_BACKBONE"):
        vars(embedder)["open_embedder"] = fake_embedder
    stop = StopFlag()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        if mode == "restore":
            say("restored", "-", restore_collection(Path(paths[0]), Path(index)).name)
            return 0
        create_for = (
            [] if mode in {"backup", "move", "accept"} else [os.fsencode(path) for path in paths]
        )
        with Collection.open(index, create_for=create_for, stop=stop) as collection:
            say("open", "-", os.getpid())
            if mode in {"watch", "once"}:
                collection.watch(paths, once=mode == "once", emit=emit)
            elif mode == "add":
                say("added", "-", collection.add(paths, emit=emit))
            elif mode == "retry":
                collection.retry(emit=emit)
            elif mode == "ask":
                standing = collection.status()
                say("status", "-", standing.images, standing.watching)
                say("query", "-", len(collection.query(paths[0]).neighbours))
                say("synced", "-", collection.links())
                say("checked", "-", collection.links(check=True))
            elif mode == "move":
                say("moved", "-", collection.move_root(*paths))
            elif mode == "backup":
                say("written", "-", collection.backup(paths[0]).sha256)
            elif mode == "accept":
                say("accepted", "-", collection.corrections.accept(), collection.links())
            elif mode == "cluster":
                collection.cluster(k=int(os.environ.get("TEST_IMGCLUST_K", "3")))
    except (ImgclustError, OSError) as error:
        say("error", "-", error)
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
