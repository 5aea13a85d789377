from __future__ import annotations

import io

from casa_env.running import Progress, progress_reporter

START = Progress(number=2, total=12, label="Fit", seconds=0.0)
WORKING = Progress(number=2, total=12, label="Fit", seconds=3.2, line="50%")
END = Progress(number=2, total=12, label="Fit", seconds=4.21, line="100%", done=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(stream: io.StringIO) -> str:
    report = progress_reporter(stream)
    for progress in (START, WORKING, END):
        report(progress)
    return stream.getvalue()


def test_a_pipe_gets_one_plain_line_for_each_cell() -> None:
    assert written(io.StringIO()) == "[ 2/12] Fit 4.2 s\n"


def test_a_pipe_sees_which_cell_is_at_work() -> None:
    stream = io.StringIO()
    progress_reporter(stream)(START)
    assert stream.getvalue() == "[ 2/12] Fit"


def test_a_terminal_sees_the_last_line_that_the_cell_wrote() -> None:
    lines = written(Terminal()).split("\r\x1b[K")
    assert lines[1:3] == ["[ 2/12] Fit 0 s", "[ 2/12] Fit 3 s | 50%"]


def test_a_terminal_is_left_with_one_line_for_each_cell() -> None:
    text = written(Terminal())
    assert text.endswith("\r\x1b[K[ 2/12] Fit 4.2 s\n")
    assert text.count("\n") == 1
