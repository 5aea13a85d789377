from __future__ import annotations

import copy
import pickle

import pytest

from casa_env import errors
from casa_env.errors import (
    CasaEnvError,
    CellError,
    EnvironmentMismatchError,
    PathsError,
)

FIELDS = {"looked_at": "a.toml, line 3", "next_step": "Correct it."}


def example(kind: type[CasaEnvError]) -> CasaEnvError:
    if kind is CellError:
        return CellError("Why.", source="1/0", traceback="\x1b[31mx", **FIELDS)
    if kind is EnvironmentMismatchError:
        rows = (("awkward", "2.9.0", "2.8.1"),)
        return EnvironmentMismatchError("Why.", differences={"worker": rows}, **FIELDS)
    return kind("Why.", **FIELDS)


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CasaEnvError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling_with_all_its_fields(
    kind: type[CasaEnvError],
) -> None:
    error = example(kind)

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is kind
    assert vars(again) == vars(error)
    assert again.args == error.args
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_can_be_copied(kind: type[CasaEnvError]) -> None:
    assert str(copy.copy(example(kind))) == str(example(kind))


def test_the_innermost_cause_that_says_something_is_what_is_said() -> None:
    full, silent = OSError(28, "No space left on device"), TimeoutError()
    outer = RuntimeError("no database\nsecond line")
    assert errors.innermost(outer) == "no database"
    assert errors.innermost(silent) == "without a reason"
    outer.__cause__ = silent
    assert errors.innermost(outer) == "no database"
    silent.__context__ = full
    assert errors.innermost(outer) == "No space left on device"


def test_the_text_says_what_happened_what_was_looked_at_and_what_to_do() -> None:
    assert str(example(CasaEnvError)) == (
        "Why.\n  looked at: a.toml, line 3\n  next step: Correct it."
    )


def test_fields_that_are_empty_leave_no_line() -> None:
    assert str(CasaEnvError("Why.")) == "Why."


def test_no_place_to_write_is_an_operating_system_error_too() -> None:
    assert issubclass(PathsError, OSError)


def test_an_error_keeps_its_cause_when_raised() -> None:
    cause = OSError("disk")
    with pytest.raises(CasaEnvError) as caught:
        raise CasaEnvError("Why.") from cause  # noqa: EM101 - short
    assert caught.value.__cause__ is cause
