"""Doctor: check that disk, catalog, index and links agree, and repair them on request."""

from imgclust.doctor.checks import Advisory, Check, Doctor, DoctorResult

__all__ = ["Advisory", "Check", "Doctor", "DoctorResult"]
