"""Turns: rotation, mirror and shift that lay a new map over the old one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Turn:
    """A rigid motion of coordinates: `coordinates @ rotation + shift`.

    Attributes
    ----------
    rotation
        Orthogonal, a mirror allowed, float64, shape (dims, dims).
    shift
        float64, shape (dims,).
    """

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def apply(self, coordinates: NDArray[Any]) -> NDArray[np.float32]:
        """Turned coordinates, float32, shape (n, dims)."""
        moved = np.asarray(coordinates, dtype=np.float64) @ self.rotation + self.shift
        return moved.astype(np.float32)


def align(new: NDArray[Any], old: NDArray[Any]) -> Turn:
    """The turn that lays new coordinates over old ones (orthogonal Procrustes, Schoenemann 1966).

    Parameters
    ----------
    new, old
        Coordinates of the same rows, shape (n, dims); a row with NaN in either is left out.
    """
    from scipy.linalg import orthogonal_procrustes

    fresh = np.asarray(new, dtype=np.float64)
    before = np.asarray(old, dtype=np.float64)
    known = np.isfinite(fresh).all(axis=1) & np.isfinite(before).all(axis=1)
    dims = fresh.shape[1]
    if known.sum() < 2:
        return Turn(np.eye(dims), np.zeros(dims))
    fresh, before = fresh[known], before[known]
    rotation, _ = orthogonal_procrustes(fresh - fresh.mean(axis=0), before - before.mean(axis=0))
    return Turn(rotation, before.mean(axis=0) - fresh.mean(axis=0) @ rotation)
