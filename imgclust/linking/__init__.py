"""Linking: the link folder kept in step with the catalog's clusters."""

from imgclust.linking.ledger import CatalogLedger
from imgclust.linking.results import LinksResult
from imgclust.linking.sync import Linking
from imgclust.linking.wishes import OUTLIERS

__all__ = ["OUTLIERS", "CatalogLedger", "Linking", "LinksResult"]
