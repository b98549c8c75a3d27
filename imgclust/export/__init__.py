"""Export: everything out, as JSON, CSV, Parquet, for TensorBoard's projector, or as it was."""
