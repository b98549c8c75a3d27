"""Export: everything out, as JSON, CSV, Parquet, for TensorBoard's projector, or as it was."""

from imgclust.export.run import FORMATS, ExportResult, Target, check_request, check_target, export

__all__ = ["FORMATS", "ExportResult", "Target", "check_request", "check_target", "export"]
