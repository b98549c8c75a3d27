"""The link folder: one folder a cluster, one link an image, updated by differences.

`plan` compares what is wanted with what the ledger says and the disk shows; `apply` carries the
plan out so that a crash at any instruction leaves something that `recover` and the next plan
repair. Every entry made here is in the ledger; an entry that does not, or that is no longer
what the ledger says, is foreign: it is reported and never touched. Originals are only ever read.

Callers hold a lock around `recover`, `apply` and `rename_folder`; `plan` and `check` only look.
"""

from imgclust.links.apply_plan import Applied, Recovered, apply, recover, rename_folder
from imgclust.links.inspect import (
    INDEX,
    PAGE_MARK,
    PAGES,
    LinkDisk,
    LinksOfflineError,
    is_our_page,
    is_ours_whole,
)
from imgclust.links.ledger import CatalogLedger, Ledger, LedgerRow, Mode, Wanted
from imgclust.links.link_plan import Change, Check, LinkPlan, check, plan
from imgclust.links.names import OUTLIERS, entry_name, folder_name
from imgclust.links.syncer import LinksResult, LinkSyncer
from imgclust.links.tree_changes import RENAMED, TreeChanges

__all__ = [
    "INDEX",
    "OUTLIERS",
    "PAGES",
    "PAGE_MARK",
    "RENAMED",
    "Applied",
    "CatalogLedger",
    "Change",
    "Check",
    "Ledger",
    "LedgerRow",
    "LinkDisk",
    "LinkPlan",
    "LinkSyncer",
    "LinksOfflineError",
    "LinksResult",
    "Mode",
    "Recovered",
    "TreeChanges",
    "Wanted",
    "apply",
    "check",
    "entry_name",
    "folder_name",
    "is_our_page",
    "is_ours_whole",
    "plan",
    "recover",
    "rename_folder",
]
