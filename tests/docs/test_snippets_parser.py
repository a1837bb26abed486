import pytest
import snippets


@pytest.fixture
def parse(tmp_path):
    def parse(text):
        (tmp_path / "page.md").write_text(text)
        return [tuple(s)[1:] for s in snippets.snippets(tmp_path / "page.md")]

    return parse


def test_blocks_and_their_output(parse):
    assert parse("a\n```lua\nx()\n\ny()\n```\n\n```output\n1\n```\nb\n```c\nz\n```\n") == [
        (2, "lua", "x()\n\ny()\n", "1\n"),
        (12, "c", "z\n", None),
    ]


@pytest.mark.parametrize(
    "text, why",
    [
        ("```lua\nx\n", "1: this block has no end"),
        ("```output\n1\n```\n", "1: this output belongs to no program"),
        ("```lua\nx\n```\ntext\n```output\n1\n```\n", "5: this output belongs to no program"),
        ("```lua\nx\n```\n```output\n1\n```\n```output\n1\n```\n", "7: this output belongs to no program"),
    ],
)
def test_mistakes_are_named(parse, text, why):
    with pytest.raises(ValueError, match=why):
        parse(text)
