"""Tables as LaTeX, with the rules of booktabs; nothing of the data is read as a command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tells.report.named_figure import file_name
from tells.report.named_table import NamedTable

# Rows that a page has room for; a longer table breaks over pages.
_PAGE = 40
_ESCAPED = {
    "\\": r"\textbackslash{}",
    **{one: f"\\{one}" for one in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "−": r"$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "\n": " ",
    "\t": " ",
}
_TABLE = str.maketrans(_ESCAPED)


def escaped(text: str) -> str:
    """A text as LaTeX prints it as it stands."""
    # A bracket after the end of a row would be read as an argument of it.
    return text.translate(_TABLE).replace("[", "{[}").replace("]", "{]}")


def latex(table: NamedTable, *, label: str) -> str:
    """A table as LaTeX source, to be put into a text by its `input`.

    Args:
        table: of a study.
        label: by which the text refers to it.
    """
    cells = table.cells()
    packages = "booktabs" if len(cells) <= _PAGE else "booktabs, longtable"
    lines = [f"% needs: {packages}; \\input this file", *_body(table, cells, file_name(label))]
    return "\n".join(lines) + "\n"


def _body(table: NamedTable, cells: Sequence[Sequence[str]], label: str) -> Iterator[str]:
    shape = "".join("r" if column.right else "l" for column in table.columns)
    head = _row([column.name for column in table.columns])
    caption = f"\\caption{{{escaped(f'{table.title}. {table.caption}.')}}}"
    named = f"\\label{{tab:{label}}}"
    if len(cells) <= _PAGE:
        yield from ("\\begin{table}", "\\centering", caption, named)
        yield from (f"\\begin{{tabular}}{{{shape}}}", "\\toprule", head, "\\midrule")
        yield from map(_row, cells)
        yield from ("\\bottomrule", "\\end{tabular}", "\\end{table}")
    else:
        yield from (f"\\begin{{longtable}}{{{shape}}}", f"{caption}{named}\\\\")
        yield from ("\\toprule", head, "\\midrule", "\\endfirsthead")
        yield from ("\\toprule", head, "\\midrule", "\\endhead")
        yield from map(_row, cells)
        yield from ("\\bottomrule", "\\end{longtable}")


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
