"""Files: encodings told apart or refused, and what is no text."""

import io
import os
import threading
from pathlib import Path

import pytest

from shop.entrypoints.files.sources import FileRefused, Format, opened_source

TEXT = "sku;name\r\nA-1;Grüner Tee €\r\n"


def read(path: Path, encoding: str | None = None) -> str:
    with opened_source(str(path), io.BytesIO(), encoding=encoding) as source:
        return source.text.read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "products.csv"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings_of_unicode_are_found(path: Path, encoding: str) -> None:
    path.write_bytes(TEXT.encode(encoding))
    assert read(path) == TEXT


def test_windows_1252_is_refused_with_the_option_to_give(path: Path) -> None:
    path.write_bytes(TEXT.encode("windows-1252"))
    with pytest.raises(FileRefused, match=r"not UTF-8: line 2 .* 0xFC.*--encoding windows-1252"):
        read(path)
    assert read(path, "windows-1252") == TEXT


def test_a_wrong_byte_is_found_before_anything_is_read_though_it_comes_last(path: Path) -> None:
    path.write_bytes(b"sku\n" * 1_000_000 + b"\xfc\n")
    with pytest.raises(FileRefused, match="line 1000001"):
        read(path)


def test_a_text_that_is_cut_off_inside_of_a_letter_is_refused(path: Path) -> None:
    path.write_bytes("ü".encode("utf-16")[:-1])
    with pytest.raises(FileRefused, match="not UTF-16"):
        read(path)


def test_a_mark_that_says_otherwise_goes_before_what_is_given(path: Path) -> None:
    path.write_bytes(TEXT.encode("utf-8-sig"))
    assert read(path, "utf-8") == TEXT
    with pytest.raises(FileRefused, match=r"mark of UTF-8.*not windows-1252.*Leave --encoding out"):
        read(path, "windows-1252")


@pytest.mark.parametrize(
    ("beginning", "what"),
    [(b"PK\x03\x04", "workbook"), (b"\xd0\xcf\x11\xe0", "old workbook"), (b"\x1f\x8b", "gzip")],
)
def test_what_is_no_text_is_refused_by_its_kind(path: Path, beginning: bytes, what: str) -> None:
    path.write_bytes(beginning + bytes(100))
    with pytest.raises(FileRefused, match=what):
        read(path)


def test_line_ends_stay_as_they_are(path: Path) -> None:
    path.write_bytes(b"a\rb\r\nc\n")
    assert read(path) == "a\rb\r\nc\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "{", Format.CSV),
        ("a.jsonl", "sku", Format.JSON_LINES),
        ("a", '\n {"sku": "A"}', Format.JSON_LINES),
        ("a", "sku,name", Format.CSV),
        ("a.TSV", "{", Format.CSV),
    ],
)
def test_the_format_is_told_by_the_name_or_the_beginning(
    tmp_path: Path, name: str, content: str, expected: Format
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with opened_source(str(path), io.BytesIO()) as source:
        assert source.format is expected
        assert source.text.read() == content


def test_standard_input_is_read_to_its_end_first() -> None:
    with opened_source("-", io.BytesIO(TEXT.encode("utf-8-sig"))) as source:
        assert source.text.read() == TEXT
        assert source.size == len(TEXT.encode("utf-8-sig"))


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[TEXT.encode()])
    writer.start()
    assert read(path) == TEXT
    writer.join()


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(FileRefused, match="No such file"):
        read(path)
