"""Backups: a collection as one file that is checked completely, and collections made from one."""

from imgclust.backup.file import Manifest, read_manifest, verify
from imgclust.backup.restore import Restored, restore_into
from imgclust.backup.write import Backup, write_backup

__all__ = [
    "Backup",
    "Manifest",
    "Restored",
    "read_manifest",
    "restore_into",
    "verify",
    "write_backup",
]
