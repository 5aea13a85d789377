"""A tree's description, read for some of its branches only.

NanoAOD has a thousand branches, and uproot takes 0.2 to 0.4 s to build an object for
each: longer than the events of a small file. Branches that nobody asked for are
stepped over here, by the sizes that stand before them. What a wanted branch refers to
and lies in a skipped one, the class of a leaf or the leaf that counts a list, is read
when it is asked for.

Notes
-----
The format is that of ROOT's ``TBufferFile::ReadObjectAny``: an object is its size, its
class (a name, or the place where that name stands) and its members; one that stands
elsewhere is that place. uproot calls these classes by ``custom_classes``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import uproot
from uproot.const import kMapOffset
from uproot.deserialization import numbytes_version, read_object_any
from uproot.models.TObjArray import Model_TObjArray
from uproot.models.TObject import Model_TObject
from uproot.source.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["classes_for"]

_HAS_SIZE, _NEW_CLASS, _IS_CLASS = 0x40000000, 0xFFFFFFFF, 0x80000000
_WORD, _TWO_WORDS, _TWO_INTS = (struct.Struct(f) for f in (">I", ">II", ">ii"))


class _Places(dict[int, Any]):
    """What was read, by its place; finds what lies in skipped bytes."""

    def __init__(self, known: dict[int, Any], where: tuple[Any, ...]) -> None:
        super().__init__(known)
        self._where = where

    def __contains__(self, place: object) -> bool:
        return super().__contains__(place) or self._found(place)

    def _found(self, place: Any) -> bool:  # noqa: ANN401 - a number
        chunk, origin, context, file, *owners = self._where
        there = Cursor(origin + place - kMapOffset, origin=origin, refs=self)
        word = there.copy().field(chunk, _WORD, context)
        if word == _NEW_CLASS:
            there.skip(_WORD.size)
            self[place] = file.class_named(there.classname(chunk, context))
        elif word & _HAS_SIZE:
            self[place] = read_object_any(chunk, there, context, file, *owners)
        else:
            return False
        return True


class _SomeBranches(Model_TObjArray):  # type: ignore[misc]  # uproot's has no types
    """The branches or leaves of a tree; other arrays are read as ever."""

    wanted: Collection[str] = ()

    def read_members(self, chunk: Any, cursor: Any, context: Any, file: Any) -> None:  # noqa: ANN401 - uproot's
        owners = self._file, self._parent
        if not isinstance(self._parent, uproot.behaviors.TTree.TTree):
            super().read_members(chunk, cursor, context, file)
            return
        self._bases.append(Model_TObject.read(chunk, cursor, context, file, *owners))
        self._members["fName"] = cursor.string(chunk, context)
        n, low = cursor.fields(chunk, _TWO_INTS, context)
        self._members |= {"fSize": n, "fLowerBound": low}
        self._data = []
        if not isinstance(cursor.refs, _Places):
            where = (chunk, cursor.origin, context, file, *owners)
            cursor._refs = _Places(cursor.refs, where)  # noqa: SLF001 - no setter
        for _ in range(n):
            size, class_ = cursor.copy().fields(chunk, _TWO_WORDS, context)
            if size != _NEW_CLASS and not size & (_HAS_SIZE | _IS_CLASS):
                cursor.skip(_WORD.size)  # a leaf that its branch has
            elif size & _HAS_SIZE and self._skips(chunk, cursor, context, class_):
                cursor.skip(_WORD.size + (size & ~_HAS_SIZE))
            else:
                item = read_object_any(chunk, cursor, context, file, *owners)
                self._data.append(item)

    def _skips(self, chunk: Any, cursor: Any, context: Any, class_: int) -> bool:  # noqa: ANN401
        """Say whether the next object is a plain branch that nobody asked for."""
        ahead = cursor.copy()
        ahead.skip(_TWO_WORDS.size)
        if class_ == _NEW_CLASS:
            name = ahead.classname(chunk, context)
        else:
            place = class_ & ~_IS_CLASS
            known = place in cursor.refs
            name = cursor.refs[place].__name__.removeprefix("Model_") if known else ""
        if name != "TBranch":
            return False
        for _ in ("TBranch", "TNamed"):
            numbytes_version(chunk, ahead, context)
        Model_TObject.read(chunk, ahead, context, self._file, self._file, self._parent)
        return ahead.string(chunk, context) not in self.wanted


def classes_for(branches: Collection[str]) -> dict[str, Any]:
    """Return the ``custom_classes`` of `uproot.open` with which a TTree has these only.

    Branches of objects (``TBranchElement``) are all there.
    """
    some = type("Model_TObjArray", (_SomeBranches,), {"wanted": frozenset(branches)})
    return {**uproot.classes, "TObjArray": some}
