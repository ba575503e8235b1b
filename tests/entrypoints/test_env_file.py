"""`.env`: read by every command, as Docker Compose would read it, and not by the tests."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from shop.entrypoints import settings
from shop.entrypoints.cli.main import main
from shop.entrypoints.env_file import WrongFile, read_env_file
from shop.entrypoints.settings import SettingsError, load_settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the shop looks for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "ENV_FILE", Path(".env"))
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SHOP_ISSUER=one", "one"),
        ("  SHOP_ISSUER = one  ", "one"),
        ("export SHOP_ISSUER=one", "one"),
        ("SHOP_ISSUER=one two", "one two"),
        ("SHOP_ISSUER=one # a comment", "one"),
        ("SHOP_ISSUER=one#two", "one#two"),
        ("SHOP_ISSUER=one=two", "one=two"),
        ("SHOP_ISSUER='one # two'", "one # two"),
        ("SHOP_ISSUER=' one '   # a comment", " one "),
        ('SHOP_ISSUER="it\'s"', "it's"),
        ("SHOP_ISSUER='say \"so\" \\\\'", 'say "so" \\\\'),
        ("SHOP_ISSUER=it's", "it's"),
        ("SHOP_ISSUER=", ""),
        ("SHOP_ISSUER=''", ""),
        ("SHOP_ISSUER=one\r", "one"),
        ("\ufeffSHOP_ISSUER=one", "one"),
        ("SHOP_ISSUER=one\nSHOP_ISSUER=two", "two"),
    ],
)
def test_a_value_is_what_compose_takes_it_for(file: Path, line: str, value: str) -> None:
    file.write_text(f"{line}\n", encoding="utf-8", newline="")
    assert read_env_file(file) == {"SHOP_ISSUER": value}


def test_only_its_own_names_are_looked_at(file: Path) -> None:
    file.write_text(
        "# SHOP_ISSUER=comment\n\nPOSTGRES_PASSWORD=$x\nXSHOP_A=1\nnonsense\nSHOP_ISSUER=one"
    )
    assert read_env_file(file) == {"SHOP_ISSUER": "one"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        *(
            (f"SHOP_ISSUER={value}", "has a $ in its value")
            for value in ("$x", "a$", "'$'", '"${x}"')
        ),
        ("SHOP_ISSUER", "must be followed by = and a value"),
        ("SHOP_ISSUER: one", "must be followed by = and a value"),
        ("SHOP_ISSUER='one", "may be in quotes as a whole"),
        ("SHOP_ISSUER='one'two", "may be in quotes as a whole"),
        ("SHOP_ISSUER='one'#two", "may be in quotes as a whole"),
        ('SHOP_ISSUER="a\\nb"', "without escapes"),
        ("SHOP_ISSUER=#one", "must be followed by = and a value"),
        ("SHOP_ISSUER= # one", "must be followed by = and a value"),
    ],
)
def test_what_compose_would_read_otherwise_is_refused(file: Path, line: str, words: str) -> None:
    file.write_text(f"# first\n{line}\n")
    with pytest.raises(WrongFile) as refused:
        read_env_file(file)
    assert str(refused.value).startswith(f"{file}, line 2: SHOP_ISSUER ")
    assert words in str(refused.value)
    assert str(refused.value).count(". ") == 0


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"SHOP_ISSUER=\xff")
    with pytest.raises(SettingsError, match=f"^{file} must be text in UTF-8"):
        load_settings()


def test_a_folder_of_that_name_is_none_of_its_business(file: Path) -> None:
    file.mkdir()
    assert load_settings().issuer == "shop"


def test_real_variables_win_though_they_be_empty(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("SHOP_ISSUER=of the file\nSHOP_AUDIENCE=of the file\nSHOP_LOG_LEVEL=debug\n")
    monkeypatch.setenv("SHOP_AUDIENCE", "real")
    monkeypatch.setenv("SHOP_LOG_LEVEL", "")
    loaded = load_settings()
    assert (loaded.issuer, loaded.audience, loaded.log_level) == ("of the file", "real", "info")
    assert load_settings({}).issuer == "shop"


def test_a_wrong_setting_says_that_it_is_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("SHOP_LOG_LEVEL=loud\n")
    with pytest.raises(SettingsError, match=rf"^SHOP_LOG_LEVEL .*\. It is set in {file}\.$"):
        load_settings()
    monkeypatch.setenv("SHOP_LOG_LEVEL", "louder")
    with pytest.raises(SettingsError, match=r"^SHOP_LOG_LEVEL is wrong: [^.]*\.$"):
        load_settings()


COMMANDS = [
    "serve",
    "demo",
    "migrate",
    "makemigrations -m x",
    "create-user ann --password-stdin",
    "list-users",
    "purge-sessions",
    "products list",
    "stock verify",
    "orders list",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_it(file: Path, command: str) -> None:
    file.write_text("SHOP_LOG_LEVEL=loud\n")
    result = CliRunner().invoke(
        main, command.split(), input="correct horse", env={"COLUMNS": "200"}
    )
    assert result.exit_code == 1
    assert "SHOP_LOG_LEVEL is wrong" in result.stderr


def test_the_tests_ignore_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SHOP_LOG_LEVEL=loud\n")
    assert load_settings().log_level == "info"
