"""The figures that the AGC reports of a run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Metrics"]


@dataclass(frozen=True)
class Metrics:
    """What the AGC reports of a run."""

    events: int
    """Events processed, in all samples."""
    bytes_read: int
    """Bytes requested from the files (compressed)."""
    wall_time_s: float
    """From the first request to the merged histograms."""
    process_time_s: float
    """Time inside the processor, summed over all tasks."""
    cores: int
    """Cores that the executor could use."""
    chunks: int
    """Tasks run."""

    @property
    def events_per_second(self) -> float:
        """Events processed per second of wall time."""
        return self.events / self.wall_time_s

    @property
    def events_per_second_and_core(self) -> float:
        """The same, divided by the number of cores."""
        return self.events_per_second / self.cores

    @property
    def megabytes_per_second(self) -> float:
        """Megabytes (10**6 bytes) read per second of wall time."""
        return self.bytes_read / 1e6 / self.wall_time_s

    def table(self) -> str:
        """Return the figures as lines for people."""
        return "\n".join(
            (
                f"events processed        {self.events:15,}",
                f"data read               {self.bytes_read / 1e6:15,.1f} MB",
                f"wall time               {self.wall_time_s:15.2f} s",
                f"time in the processor   {self.process_time_s:15.2f} s",
                f"cores                   {self.cores:15d}",
                f"events/s                {self.events_per_second:15,.0f}",
                f"events/s and core       {self.events_per_second_and_core:15,.0f}",
                f"data rate               {self.megabytes_per_second:15.2f} MB/s",
            )
        )
