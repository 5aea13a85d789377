"""A process that runs the analysis over a file, for each line that it is sent."""

from __future__ import annotations

import json
import sys

from benchmarks.measurement import peak_bytes, pin, timed


def main() -> None:
    """Answer each line ``[sample, path, times]`` with the time and the memory."""
    pin(int(sys.argv[1]))
    from benchmarks.inputs import Input
    from benchmarks.ours import run_ours

    for line in sys.stdin:
        sample, path, times = json.loads(line)
        file = Input(sample, "", path)
        seconds = timed(lambda: [run_ours(file) for _ in range(times)])  # noqa: B023
        print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
