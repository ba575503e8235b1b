"""Makes the files of spreadsheets in this folder again; see README.md."""

import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = ("SKU", "Name", "Description", "Price", "Stock", "Archived")
ROWS = (
    ("00123", "Grüner Tee, lose", "Erste Ernte.\nKühl lagern.", 1234.5, 12, False),
    ("A-1", 'Kanne "Bauhaus"', "", 19.9, 0, True),
    ("4006381333931", "Stift; blau", "=1+1 is no formula here", 2, 1500, False),
    ("B 7", "  Schale  ", "", 0.05, 3, False),
)


def workbook(path: Path) -> None:
    # The shop itself has no use for it.
    book = import_module("openpyxl").Workbook()
    sheet = book.active
    sheet.append(HEADER)
    for row in ROWS:
        sheet.append(row)
    for cells in sheet.iter_rows(min_row=2):
        # SKUs and texts are texts, as somebody has made the columns; prices have two digits.
        for cell in cells[:3]:
            cell.data_type, cell.number_format = "s", "@"
        cells[3].number_format = "#,##0.00"
    book.save(path)


def libreoffice(workbook: Path, name: str, *, delimiter: str, language: str) -> None:
    """As Calc writes it, "Save as CSV", in a language."""
    filter_ = f"csv:Text - txt - csv (StarCalc):{ord(delimiter)},34,76,1,,0,false,true"
    profile = f"-env:UserInstallation=file://{workbook.parent}/{language}"
    subprocess.run(
        ["soffice", profile, "--headless", "--convert-to", filter_, workbook],
        check=True,
        cwd=workbook.parent,
        env=dict(os.environ) | {"LANG": language, "LC_ALL": language},
    )
    (FOLDER / name).write_bytes(workbook.with_suffix(".csv").read_bytes())


def excel(name: str, *, delimiter: str, encoding: str) -> None:
    """As Excel writes it: CRLF, quotes only where they are needed, cells as they are shown."""

    def quoted(text: str) -> str:
        doubled = text.replace('"', '""')
        return f'"{doubled}"' if any(sign in text for sign in (delimiter, '"', "\n")) else text

    def shown(row: tuple[object, ...]) -> list[str]:
        sku, title, description, price, stock, archived = row
        money = f"{price:,.2f}".translate(str.maketrans(",.", ".,"))
        return [str(sku), str(title), str(description), money, str(stock), _TRUTH[str(archived)]]

    lines = [list(HEADER), *map(shown, ROWS)]
    text = "".join(delimiter.join(map(quoted, line)) + "\r\n" for line in lines)
    (FOLDER / name).write_bytes(text.encode(encoding))


_TRUTH = {"True": "WAHR", "False": "FALSCH"}


def main() -> None:
    # "CSV UTF-8", "CSV" and "Unicode Text" of a German Excel.
    excel("excel-utf-8.csv", delimiter=";", encoding="utf-8-sig")
    excel("excel-windows-1252.csv", delimiter=";", encoding="windows-1252")
    excel("excel-unicode-text.txt", delimiter="\t", encoding="utf-16")
    if "--all" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "products.xlsx"
            workbook(path)
            libreoffice(path, "libreoffice.csv", delimiter=",", language="en_US.UTF-8")
            libreoffice(path, "libreoffice-german.csv", delimiter=";", language="de_DE.UTF-8")


if __name__ == "__main__":
    main()
