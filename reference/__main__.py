"""Writes every page and drawing that is made from the code."""

from reference.pages import DOCS, PAGES


def main() -> None:
    for name, text_of in PAGES.items():
        (DOCS / name).write_text(text_of(), encoding="utf-8")


if __name__ == "__main__":
    main()
