"""Files as plain data with positions."""

import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.config.dumper import dump_text
from jumpstarter.config.yaml import read_file, read_text


def error_of(text: str) -> str:
    """What is wrong with a text."""
    with pytest.raises(ConfigurationError) as caught:
        read_text(text, "lab.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1 file: is empty; a configuration is a mapping (key: value)"),
        ("# nothing\n", "1:1 file: is empty; a configuration is a mapping (key: value)"),
        ("---\n", "1:1 file: is empty; a configuration is a mapping (key: value)"),
        ("a: 1\n---\nb: 1\n", "2:1 file: a second document starts here; a file holds one"),
        ("- a\n", "1:1 file: expected a mapping (key: value), got a list"),
        ("\nhello\n", "2:1 file: expected a mapping (key: value), got a str"),
        ("a: b: c\n", "1:5 file: not valid YAML: mapping values are not allowed in this context"),
        ("a:\n\t- b\n", "2:1 file: not valid YAML: a tab; indent with spaces"),
        (
            "a: [1,\nb: 2\n",
            "3:1 file: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence from line 1",
        ),
        ("a: *b\n", "1:4 file: *b refers to no anchor"),
        ("a: &b [*b]\n", "1:8 file: *b stands within what it refers to"),
        ("a: !lamp b\n", "1:4 a: tag !lamp is not known here"),
        ("a: !!python/name:os.system x\n", "1:4 a: tag !!python/name:os.system is not known here"),
        ("a: !!python/object:os.system {}\n", "1:4 a: tag !!python/object:os.system is not known here"),
        ("a: 2024-13-45\n", '1:4 a: 2024-13-45 is no timestamp; a text is written as "2024-13-45"'),
        ("a: !!bool x\n", '1:4 a: x is no bool; a text is written as "x"'),
        (f"a: {'1' * 101}\n", "1:4 a: more than 100 characters; that is no int"),
        ("a: 'b\x07'\n", "1:6 file: character '\\x07' is not allowed in YAML"),
        ("a: \ud800\n", "1:4 file: character '\\ud800' is not allowed in YAML"),
        ("? [a]\n: b\n", "1:3 file: a key is a text, not a list or mapping"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "4:3 a.b: stands here twice; first in line 2"),
        ("on: 1\non: 2\n", "2:1 on: stands here twice; first in line 1"),
        ("a: {<<: 1}\n", "1:9 a: '<<' takes a mapping, or a list of mappings"),
        (f"a: {'[' * 64}", "1:67 file: nested more than 64 deep"),
    ],
)
def test_what_is_wrong_stands_on_one_line_with_its_position(text: str, message: str) -> None:
    assert error_of(text) == f"lab.yaml:{message}"


def test_all_keys_that_stand_twice_are_reported() -> None:
    assert error_of("a: 1\nb: {c: 1, c: 2}\na: 3\n").splitlines() == [
        "lab.yaml:2:11 b.c: stands here twice; first in line 2",
        "lab.yaml:3:1 a: stands here twice; first in line 1",
    ]


def test_values_and_positions() -> None:
    document = read_text("é: [1, {on: 0x10}]\n'a.b':\n    c: 2024-01-02\n", "lab.yaml")
    assert document.data == {"é": [1, {True: 16}], "a.b": {"c": date(2024, 1, 2)}}
    place = document.place
    assert str(place / "é" / 1 / True) == "lab.yaml:1:9 é[1].on"
    assert str(place / "a.b" / "c") == 'lab.yaml:3:5 "a.b".c'
    assert str(place / "a.b" / "not there") == 'lab.yaml:2:1 "a.b"."not there"'
    mark = (place / "a.b" / "c").mark
    assert mark is not None
    assert mark.text == "2024-01-02"


def test_aliases_and_merged_mappings_are_expanded() -> None:
    text = """
base: &base {a: 1, b: 1}
more: &more {b: 2, c: 2}
both:
  b: 3
  <<: [*base, *more]
again: *base
"""
    document = read_text(text, "lab.yaml")
    assert document.data["both"] == {"a": 1, "b": 3, "c": 2}
    assert document.data["again"] == {"a": 1, "b": 1}
    assert str(document.place / "both" / "b") == "lab.yaml:5:3 both.b"
    assert str(document.place / "both" / "c") == "lab.yaml:3:20 both.c"


def test_a_few_lines_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    lists = "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(60))
    merges = "a0: &a0 {b: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(60))
    chain = "a0: &a0 {b: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: *a{i}}}\n" for i in range(5000))
    begin = time.monotonic()
    assert "more than 100000 values" in error_of(lists)
    assert "more than 100000 values" in error_of(merges)
    assert "more than 64 mappings merged" in error_of(chain)
    assert time.monotonic() - begin < 30


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_file(path).data == {"a": 1, "b": 2}


def file_error(path: Path) -> str:
    """What is wrong with a file, without the folder it is in."""
    with pytest.raises(ConfigurationError) as caught:
        read_file(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: ok\nmotd: gr\xfc\xdfe\n")
    (tmp_path / "wide.yaml").write_bytes("a: 1\n".encode("utf-16"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    (tmp_path / "folder.yaml").mkdir()
    assert file_error(tmp_path / "latin.yaml") == "latin.yaml:2:9 file: byte 0xfc is not UTF-8; save the file as UTF-8"
    assert file_error(tmp_path / "wide.yaml") == "wide.yaml:1:1 file: byte 0xff is not UTF-8; save the file as UTF-8"
    assert file_error(tmp_path / "large.yaml") == "large.yaml:1:1 file: is larger than 1 MiB; that is no configuration"
    assert file_error(tmp_path / "folder.yaml") == "folder.yaml:1:1 file: is a directory; name a file in it"
    assert file_error(tmp_path / "none.yaml") == "none.yaml: does not exist; check the path"
    assert file_error(tmp_path / "large.yaml" / "x") == "x:1:1 file: cannot be read: not a directory"


def test_a_missing_file_can_be_caught_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.yaml")


@contextmanager
def nobody() -> Generator[None]:
    """Root may read everything, so be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.touch(mode=0)
    with nobody():
        assert file_error(path) == "lab.yaml:1:1 file: cannot be read: permission denied"


def test_something_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # paths of sockets are short
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("lab.yaml")
        assert "lab.yaml:1:1 file: cannot be read: " in file_error(tmp_path / "lab.yaml")


def test_a_name_with_line_breaks_stays_on_one_line() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_text('"a\\nb": {"\\e[31m": 1, "\\e[31m": 2}', "folder\nlab.yaml")
    assert str(caught.value) == 'folder lab.yaml:1:23 "a\\nb"."\\x1b[31m": stands here twice; first in line 1'


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**90), 10**90) | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), plain, max_size=5))
@settings(max_examples=50)
def test_what_is_written_reads_the_same(data: dict[str, object]) -> None:
    assert read_text(dump_text(data)).data == data


words = ["a", "on", "1", "0x", "<<", ".inf", "2024-99-99", "1:2:3", "&a ", "*a ", "!!int ", "!a ", "%YAML 1.1\n"]
marks = [*"~='\"#\n\t[]{}\\", "\n  ", ": ", ", ", "- ", "? ", "|\n", ">-\n", "---\n", "...\n"]
yaml_parts = st.sampled_from([*words, *marks])


@given(st.lists(yaml_parts, max_size=30).map("".join) | st.text())
@example("a: !!timestamp b")
@example("a: !!int ''")
@example("a: !!binary b")
@example("a: !!float _")
@example("a: 0b")
@example("!!set {a}")
@example("a: !<tag:yaml.org,2002:> b")
@example("%TAG ! tag:yaml.org,2002:\n--- !python/none {}")
def test_any_text_is_a_mapping_or_an_error_of_one_line_each(text: str) -> None:
    try:
        assert isinstance(read_text(text, "lab.yaml").data, dict)
    except ConfigurationError as e:
        assert all(line.startswith("lab.yaml:") for line in str(e).splitlines())


@given(st.binary())
def test_any_bytes_are_a_mapping_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(read_file(path).data, dict)
    except ConfigurationError as e:
        assert str(e).startswith(f"{path}:")
