"""The key reference is made from the config and is up to date."""

from pathlib import Path

from sgopd.config_docs import render

DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_the_document_in_docs_is_what_the_config_says() -> None:
    assert DOCUMENT.read_text() == render(), "run `sgopd config-docs > docs/configuration.md`"


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |")]
