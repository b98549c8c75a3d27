"""Export: everything out, as JSON, CSV, Parquet, for TensorBoard's projector, or as it was."""

from imgclust.export.place import Target, check_target
from imgclust.export.results import ExportResult
from imgclust.export.run import FORMATS, export

__all__ = ["FORMATS", "ExportResult", "Target", "check_target", "export"]
