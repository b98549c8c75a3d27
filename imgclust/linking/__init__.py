"""Linking: the link folder kept in step with the catalog's clusters."""

from imgclust.linking.ledger import CatalogLedger
from imgclust.linking.sync import Linking, LinksResult

__all__ = ["CatalogLedger", "Linking", "LinksResult"]
