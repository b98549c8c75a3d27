"""Export: everything out, as JSON, CSV, Parquet, for TensorBoard's projector, or as it was."""

from imgclust.export.run import FORMATS, ExportResult, export
from imgclust.export.target import Target, check_target

__all__ = ["FORMATS", "ExportResult", "Target", "check_target", "export"]
