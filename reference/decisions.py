"""The index of the decisions: what each page is called."""

from pathlib import Path

from reference.markdown import MADE

FOLDER = Path(__file__).parent.parent / "docs" / "decisions"


def page() -> str:
    files = sorted(FOLDER.glob("[0-9]*.md"))
    lines = [f"- [{_title(file)}]({file.name})\n" for file in files]
    return (
        f"{MADE}# Decisions\n\n"
        "What could have been done otherwise, and why it was done so. Each page says what was "
        "decided and what it costs.\n\n"
        f"{''.join(lines)}"
    )


def _title(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
