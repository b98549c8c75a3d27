"""What commands end with: links and pages in step."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from imgclust.collection import link_folder
from imgclust.errors import LockedError, StoppedError

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

# How often, and for how long in all, finished work looks whether it may bring the links in step.
_LINKS_WAIT_S = 0.2
_LINKS_PATIENCE_S = 300.0
# A larger catalog is not copied to make it smaller: not where a watcher has to wait for that, and
# not where it takes a minute.
_MOST_BESIDE_BYTES, _MOST_BYTES = 256 << 20, 2 << 30


def finish_links(collection: Opened) -> None:
    """Bring the links in step after work that has succeeded.

    Another process may be at them: it takes what is queued too, or lets us. When neither happens
    in some minutes, or the person asks to stop, that is said and the links stay queued.
    """
    deadline = time.monotonic() + _LINKS_PATIENCE_S
    linking = collection.linking()
    outdated = linking.counts_images
    while outdated or linking.queued:
        try:
            linking.sync(wait_s=0.0, progress=collection.progress, stop=collection.stop)
            outdated = False
        except LockedError as error:
            if time.monotonic() < deadline and not collection.stop.wait(_LINKS_WAIT_S):
                continue
            collection.say(f"{error}; the links follow later, or with imgclust links")
            return
        except StoppedError:
            collection.say("the links are not all in step yet; imgclust links goes on")
            return
    finish_pages(collection)


def finish_space(collection: Opened) -> None:
    """Give space that the catalog no longer needs back to the disk, if that takes moments."""
    most = _MOST_BESIDE_BYTES if collection.is_watching else _MOST_BYTES
    with contextlib.suppress(OSError):
        collection.catalog.shrink(most_bytes=most)


def finish_pages(collection: Opened) -> None:
    """Make the pages of the link folder again; they are an aid, so that nothing fails for them."""
    try:
        link_folder.write(collection)
    except LockedError:
        return  # whoever is at the links makes them
    except StoppedError:
        collection.say("the pages of the link folder are not all made; imgclust links goes on")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        collection.say(f"the pages of the link folder are made later: {error}")
