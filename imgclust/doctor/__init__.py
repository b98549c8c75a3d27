"""Doctor: disk, catalog, index and links held against each other, and mended on request."""

from imgclust.doctor.advice import Advisory
from imgclust.doctor.checks import Check, Doctor, DoctorResult

__all__ = ["Advisory", "Check", "Doctor", "DoctorResult"]
