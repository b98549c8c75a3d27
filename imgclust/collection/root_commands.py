"""What a person does with the folders that images come from."""

from __future__ import annotations

import os
from pathlib import Path

from imgclust import collection
from imgclust.collection.context import Opened


class RootCommands(Opened):
    """Commands about watched folders, and those that images were added from."""

    def roots(self) -> tuple[collection.RootRow, ...]:
        """The folders that images come from, with the disks that are mounted below them."""
        from imgclust.collection import root_list

        return root_list.roots(self)

    def move_root(
        self, old: Path | str | bytes, new: Path | str | bytes, *, dry_run: bool = False
    ) -> collection.MovedRoot:
        """Say that a folder has moved: a root, or one below a root. Its images keep their ids.

        The files at the new place are compared with the catalog first. Images that have been
        ingested from there meanwhile are given up for the old ones. Nothing is embedded. The paths
        change in one transaction; a second call with the same folders changes nothing.

        Raises
        ------
        NothingThereError
            When no image comes from `old`.
        UsageError
            When `new` is not a folder, does not have the files, overlaps with our own folders, or
            one of the two lies in the other.
        LockedError
            When a process ingests into this collection.
        """
        from imgclust.collection import link_folder, root_moves

        moved = root_moves.move_root(self, os.fsencode(old), os.fsencode(new), dry_run=dry_run)
        if not dry_run:
            link_folder.finish_links(self)
        return moved

    def remove_root(
        self, folder: Path | str | bytes, *, remove_images: bool = False, dry_run: bool = False
    ) -> collection.RemovedRoot:
        """Watch a folder no more. Its images stay, unless `remove_images` takes them out.

        Images taken out so are not remembered as removed: they come back when the folder is
        watched or added again. Files are not touched.

        Raises
        ------
        NothingThereError
            When it is not among the folders.
        LockedError
            When a process ingests into this collection.
        """
        from imgclust.collection import link_folder, root_list

        removed = root_list.remove_root(
            self, os.fsencode(folder), remove_images=remove_images, dry_run=dry_run
        )
        if not dry_run:
            link_folder.finish_links(self)
        return removed
