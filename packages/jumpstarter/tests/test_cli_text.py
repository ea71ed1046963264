"""What reaches a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.cli.prompt import prompt_name, shell_command
from jumpstarter.common.text import one_line, printable

ANY_TEXT = st.text(st.characters(codec=None))
OBEYED = ["\x1b[31m", "\x9b31m", "\x07", "\r", "\x00", "\x7f", "\u202e", "\u2066", "\u200f", "\x85", "\udcff"]


def is_obeyed(char: str) -> bool:
    """Whether a terminal would do something else than show the character."""
    if char in "\n\t":
        return False
    return unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in (
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
    )


@given(ANY_TEXT | st.lists(st.sampled_from([*OBEYED, "a", "\n", "\t"])).map("".join))
def test_nothing_that_a_terminal_obeys_comes_through(text: str):
    shown = printable(text)
    assert not any(is_obeyed(char) for char in shown)
    shown.encode()


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]) | st.sampled_from("\n\täß→日")))
def test_ordinary_text_stays_as_it_is(text: str):
    assert printable(text) == text


@given(ANY_TEXT)
def test_filtering_twice_is_filtering_once(text: str):
    assert printable(printable(text)) == printable(text)


def test_escapes_can_be_read():
    assert printable("\x1b[2J\u202eevil\x9b") == "\\x1b[2J\\u202eevil\\x9b"


@given(ANY_TEXT)
def test_one_line_is_one_line(text: str):
    assert len(one_line(text).splitlines()) <= 1


def test_one_line_keeps_the_words():
    assert one_line("first\n   second\r\nthird\n") == "first second third"


@given(ANY_TEXT)
def test_a_prompt_has_nothing_that_a_shell_expands(name: str):
    assert not set(prompt_name(name)) & set("$`\\%!(){}[]'\";&|<>*?~ \n\x1b")


def test_every_kind_of_shell_is_told_the_name():
    for shell in ("/bin/bash", "/bin/zsh", "/usr/bin/fish", "/bin/sh"):
        command, variables = shell_command(shell, "lab-$(reboot)")
        assert command[0] == shell
        assert "[lab-__reboot_]" in f"{command} {variables}"
