"""The progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.terminal.text import duration, unit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def progress_bar(console: Console) -> Progress:
    """A bar that leaves when it is stopped, with done, total, rate and time left."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Done(ProgressColumn):
        """How many of how many, how fast, how long still."""

        def render(self, task: Task) -> Text:
            if task.total is None:
                return Text("")
            scale, name = unit(task.description)
            text = f"{task.completed / scale:,.0f}/{task.total / scale:,.0f}{name}"
            if task.speed:
                speed = task.speed / scale
                text += f"  {speed:,.0f}/s" if speed >= 10 else f"  {speed:.1f}/s"
            if task.time_remaining is not None:
                text += f"  {duration(task.time_remaining)} left"
            return Text(text)

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        Done(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
