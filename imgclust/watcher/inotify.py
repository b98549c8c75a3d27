"""watchdog's inotify observer, made to say what it would only log or drop.

Written against watchdog 7.1: there a queue overflow ends as a line in the log (`InotifyFD`
rebuilds its watches, but nobody learns that events were lost), a sub-folder that the watch limit
refuses is passed over in silence, and a folder without permission is recorded under descriptor -1.
"""

from __future__ import annotations

import errno
import logging
import os
import warnings
from collections.abc import Callable

from watchdog import events
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

# A folder that is made and filled at once is added by its own event and by the walk of the one
# above it; watchdog warns of the second time, which is the same watch.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)

# What watchdog logs is said in our words; without a handler Python would print it.
logging.getLogger("watchdog").addHandler(logging.NullHandler())

LIMIT_ERRORS = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_EVENTS: list[type[FileSystemEvent]] = [
    events.DirCreatedEvent,
    events.DirDeletedEvent,
    events.DirMovedEvent,
    events.FileAttribEvent,
    events.FileClosedEvent,
    events.FileCreatedEvent,
    events.FileDeletedEvent,
    events.FileModifiedEvent,
    events.FileMovedEvent,
    events.FileOpenedEvent,
]


class Reader(InotifyFD):
    """The thread that reads the inotify descriptor.

    Parameters
    ----------
    on_overflow
        Called after events were lost and the watches were rebuilt.
    on_unmount
        Called when a watched file system was unmounted: its watches are gone for good.
    on_limit
        Called with a folder that the system's limits left unwatched.

    Attributes
    ----------
    proving
        While False, opened files are dropped here, so that our own reads cost next to nothing.
    """

    def __init__(
        self,
        *,
        on_overflow: Callable[[], None],
        on_unmount: Callable[[], None],
        on_limit: Callable[[bytes], None],
    ) -> None:
        super().__init__()
        self.proving = False
        self._on_overflow = on_overflow
        self._on_unmount = on_unmount
        self._on_limit = on_limit

    def add_callback(
        self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId
    ) -> WatchDescriptor:
        """Watch a folder.

        Raises
        ------
        OSError
            When it cannot be watched; watchdog passes that over for all but the root.
        """
        try:
            descriptor = super().add_callback(path, mask, callback, id_)
        except OSError as error:
            if error.errno in LIMIT_ERRORS:
                self._on_limit(path)
            raise
        if descriptor == -1:  # watchdog does not raise EACCES
            self._watch_for_wd.pop(descriptor, None)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return descriptor

    def handle_event(self, event: InotifyEvent) -> None:
        """Pass one event on, or notice that some were lost."""
        if event.mask & ~InotifyConstants.IN_ISDIR == InotifyConstants.IN_OPEN and not self.proving:
            return
        super().handle_event(event)
        if event.is_queue_overflow:
            self._on_overflow()
        elif event.mask & InotifyConstants.IN_UNMOUNT:
            self._on_unmount()


class Observer(BaseObserver):
    """One inotify descriptor, its reader, and an emitter thread for each root."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.reader.start()
        super().__init__(InotifyEmitter, inotify_fd=self.reader)

    def on_thread_stop(self) -> None:
        """Stop the emitters, then the reader."""
        super().on_thread_stop()
        self.reader.stop()
        self.reader.join()

    def watch(self, root: bytes, handler: FileSystemEventHandler) -> ObservedWatch:
        """Watch `root` and all below it; raises OSError when it cannot be watched itself."""
        # As str, which watchdog's types ask for; surrogate escapes bring every byte back.
        return self.schedule(handler, os.fsdecode(root), recursive=True, event_filter=_EVENTS)

    def alive(self) -> bool:
        """True while the threads that all roots share run."""
        return self.is_alive() and self.reader.is_alive()

    def alive_for(self, watch: ObservedWatch) -> bool:
        """True while the emitter of `watch` runs (it ends by itself when its root is deleted)."""
        return any(emitter.watch == watch and emitter.is_alive() for emitter in self.emitters)


class Handler(FileSystemEventHandler):
    """Turns watchdog's events into paths.

    Parameters
    ----------
    on_path
        Called with each path that changed: a file, or a folder that is not there any more.
    on_folder
        Called with each folder that is new; events from inside it may have been lost.
    on_open
        Called with each file that was opened.
    """

    def __init__(
        self,
        *,
        on_path: Callable[[bytes], None],
        on_folder: Callable[[bytes], None],
        on_open: Callable[[bytes], None],
    ) -> None:
        self._on_path = on_path
        self._on_folder = on_folder
        self._on_open = on_open

    def dispatch(self, event: FileSystemEvent) -> None:
        """Sort one event; called in the observer's thread."""
        source, destination = os.fsencode(event.src_path), os.fsencode(event.dest_path)
        if isinstance(event, events.FileOpenedEvent):
            self._on_open(source)
        elif event.is_synthetic:
            pass  # made up by watchdog for the inside of a moved folder, which is walked anyway
        elif isinstance(event, events.DirCreatedEvent):
            self._on_folder(source)
        else:
            self._on_path(source)
            if isinstance(event, events.DirMovedEvent):
                self._on_folder(destination)
            elif destination:
                self._on_path(destination)
