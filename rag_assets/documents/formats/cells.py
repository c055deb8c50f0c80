"""A table of a page while it is read: rows of cells, each in its own column."""

from __future__ import annotations

from rag_assets.documents.formats.blocks import one_line

_WIDEST = 100  # columns that a cell may span
_TALLEST = 1000  # rows
_REPEATED = 200  # characters; longer text is in the first of its rows only
_ROOM = 50_000  # characters of a table for repeated cells: spans could multiply it without end


class Cells:
    """Rows as lines; a cell over several rows is repeated, one over several columns leaves room."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._row: list[str] = []
        self._above: dict[int, tuple[int, str]] = {}  # by column: rows that a cell still spans
        self._span = (1, 1)
        self._room = _ROOM
        self.in_cell = False
        self.cut = 0  # cells that are not repeated in all their rows or columns

    def begin_cell(self, rows: str | None, columns: str | None) -> None:
        """A cell begins in the next column that is free."""
        self._take_from_above()
        self._span = (_number(rows, _TALLEST), _number(columns, _WIDEST))
        self.in_cell = True

    def end_cell(self, text: str) -> None:
        """The cell that is open has this text; without one, nothing."""
        if not self.in_cell:
            return
        self.in_cell = False
        rows, columns = self._span
        self._room -= 3 * (columns - 1)
        if self._room < 0 and columns > 1:
            columns = 1
            self.cut += 1
        for place in range(columns):
            shown = text.strip() if place == 0 else ""
            if rows > 1:
                repeated = one_line(shown) if len(shown) <= _REPEATED else ""
                self._above[len(self._row)] = (rows - 1, repeated)
            self._row.append(shown)

    def end_row(self) -> None:
        """A row of one cell keeps its lines, any other is one line."""
        if not self._row:
            return
        self._take_from_above()
        cells = [cell for cell in self._row if cell]
        if len(cells) > 1:
            self._lines.append(" | ".join(map(one_line, self._row)).rstrip(" |"))
        elif cells:
            self._lines.append(cells[0])
        self._row.clear()

    def take(self) -> str:
        """The rows so far, which are then forgotten."""
        text = "\n".join(self._lines)
        self._lines.clear()
        return text

    def _take_from_above(self) -> None:
        while (column := len(self._row)) in self._above:
            rows, text = self._above.pop(column)
            self._room -= len(text) + 3
            if self._room < 0:
                self.cut += 1 + len(self._above)
                self._above.clear()
                return
            if rows > 1:
                self._above[column] = (rows - 1, text)
            self._row.append(text)


def _number(value: str | None, most: int) -> int:
    """Return a span, at most ``most``; 1 if it is not a number."""
    return min(most, max(1, int(value))) if value and value.strip().isdecimal() else 1
