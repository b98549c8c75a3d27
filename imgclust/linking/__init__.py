"""Linking: the link folder kept in step with the catalog's clusters."""

from imgclust.links.catalog_ledger import CatalogLedger
from imgclust.links.results import LinksResult
from imgclust.links.syncer import Linking
from imgclust.links.targets import OUTLIERS

__all__ = ["OUTLIERS", "CatalogLedger", "Linking", "LinksResult"]
