"""What spreadsheets make of cells, and how to keep and undo it.

A program that opens a CSV file takes cells for more than text: one that begins with `=` for a
formula, which may send what is in the sheet elsewhere (OWASP, "CSV Injection"), one with many
digits for a number, of which it forgets some. So a text at risk is written with an apostrophe
before it, and read without it.
"""

import re

_STARTS_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20\t\r")
_FORMULA = re.escape("".join(sorted(_STARTS_FORMULA)))
# A number of Excel's that is too long for its column: what stands in the file has lost digits.
_SHORTENED = r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+"
_SHORTENED_NUMBER = re.compile(_SHORTENED)
# A plain number with its sign is no formula. Apostrophes that a text has by itself are counted in,
# so that each text is written in one way and read back as it was.
_AT_RISK = re.compile(rf"'*(?:(?![+-][0-9][0-9.,]*\Z)[{_FORMULA}]|{_SHORTENED}\Z)")
_MAY_BE_AT_RISK = _STARTS_FORMULA | frozenset("'0123456789")
_KEPT_AS_TEXT = re.compile(r'="((?:[^"]|"")*)"')


def neutralised(text: str) -> str:
    """The text as no spreadsheet takes it for anything else."""
    if text[:1] in _MAY_BE_AT_RISK and _AT_RISK.match(text):
        return f"'{text}"
    return text


def undone(cell: str) -> str:
    """The text that a cell stands for: without what kept it from being a formula or a number."""
    if cell[:1] == "'" and _AT_RISK.match(cell):
        return cell[1:]
    if cell[:1] == "=" and (kept := _KEPT_AS_TEXT.fullmatch(cell)):
        return kept[1].replace('""', '"')
    return cell


def protected(cell: str) -> str:
    """A cell as somebody's file has it, for another file: it stands for the same text there."""
    is_formula = cell[:1] in _STARTS_FORMULA and _AT_RISK.match(cell)
    return f"'{cell}" if is_formula and not _KEPT_AS_TEXT.fullmatch(cell) else cell


def is_shortened(cell: str) -> bool:
    """Whether it is a long number as Excel shows it, `1,23E+05`, and the number is lost."""
    return _SHORTENED_NUMBER.fullmatch(cell) is not None


POINT, COMMA = ".", ","
# Between thousands: the other sign, a space of some kind or an apostrophe.
_GROUPS = " \u00a0\u2009\u202f'\u2019"
_WRITTEN = {
    sign: re.compile(
        rf"([+-]?)([0-9]+|[0-9]{{1,3}}([{re.escape(other)}{_GROUPS}])[0-9]{{3}}(?:\3[0-9]{{3}})*)"
        rf"(?:{re.escape(sign)}([0-9]+))?"
    )
    for sign, other in ((POINT, COMMA), (COMMA, POINT))
}


def number_of(cell: str, decimal: str | None) -> str:
    """A number as programs write it, `1234.5`, of one as people do, with this decimal sign.

    Without a decimal sign it is as it is: whether `1.234` is little or much nobody can tell. Raises
    `ValueError` with what the number must be.
    """
    number = _number_of(cell, decimal)
    if number is None:
        other = COMMA if decimal == POINT else POINT
        raise ValueError(f"must be a number such as 1{other}234{decimal}50 or 1234{decimal}50")
    return number


def _number_of(cell: str, decimal: str | None) -> str | None:
    """None if it is not written as a number with this decimal sign."""
    if decimal is None:
        if COMMA in cell:
            raise ValueError("has a comma: say by --decimal , or --decimal . what it means")
        return cell
    written = _WRITTEN[decimal].fullmatch(cell)
    if written is None:
        return None
    sign, whole, _, fraction = written.groups()
    digits = re.sub("[^0-9]", "", whole)
    return f"{sign}{digits}.{fraction}" if fraction else f"{sign}{digits}"


_WHOLE = re.compile(r"([+-]?[0-9]{1,16})(?:\.0+)?")


def whole_number_of(cell: str, decimal: str | None) -> int:
    """Raises `ValueError` with what the number must be."""
    number = _number_of(cell, decimal) or ""
    whole = _WHOLE.fullmatch(number)
    # Without a decimal sign 1.000 may be a thousand.
    if whole is None or (decimal is None and POINT in number):
        raise ValueError("must be a whole number such as 1234")
    return int(whole[1])


# As Excel and LibreOffice write it in English, German, French and Spanish.
_YES = frozenset(
    ["1", "true", "yes", "y", "wahr", "ja", "vrai", "oui", "verdadero", "si", "sí", "x"]
)
_NO = frozenset(["0", "false", "no", "n", "falsch", "nein", "faux", "non", "falso"])


def truth_of(cell: str) -> bool:
    """Raises `ValueError` with what it must be."""
    word = cell.casefold()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError("must be true or false, yes or no, 1 or 0")
