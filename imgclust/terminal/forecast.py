"""How fast work goes and how long it still takes, once that means something."""

from __future__ import annotations

from collections.abc import Sequence

# How fast work goes is that of so many seconds, and is known after so many; what has to be done
# is known when it has not grown for so many.
PACE_S = 30
_TELLS_S = 5.0
_STANDS_S = 2.0


def pace(amounts: Sequence[tuple[float, float]], now: float) -> float:
    """Units a second by what was done and when, oldest first; 0 while that is not known.

    Before the first amount there was a start, which says nothing about the rest: the time counts
    from there, and two more amounts and five seconds are needed.
    """
    recent = [one for one in amounts if one[0] > now - PACE_S]
    if len(recent) < 3 or now - recent[0][0] < _TELLS_S:
        return 0.0
    return sum(amount for _, amount in recent[1:]) / (now - recent[0][0])


class Forecast:
    """How fast one step of work goes and how long it still takes, once that means something."""

    def __init__(self) -> None:
        self._done = self._total = 0.0
        self._stands = 0.0
        self._amounts: list[tuple[float, float]] = []

    def see(self, now: float, done: float, total: float) -> None:
        """Take note of how far the work is now."""
        if done < self._done:
            self._amounts.clear()
        elif done > self._done:
            kept = [one for one in self._amounts if one[0] > now - PACE_S]
            self._amounts = [*kept, (now, done - self._done)]
        if total != self._total:
            self._stands = now
        self._done, self._total = done, total

    def rate(self, now: float) -> float:
        """Units a second; 0 while that is not known."""
        return pace(self._amounts, now)

    def left_s(self, now: float) -> float | None:
        """Seconds that the rest takes; None while that is not known."""
        rate = self.rate(now)
        if not rate or now - self._stands < _STANDS_S:
            return None
        return (self._total - self._done) / rate
