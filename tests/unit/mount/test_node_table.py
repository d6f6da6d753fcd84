"""Node numbers: given once, kept in memory that a successor can take over."""

from __future__ import annotations

import os

import pytest

from tvix.castore.digests import digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name, SymlinkNode
from tvix.mount.node_table import DIRECTORY, FILE, NO_DIGEST, NO_POSITION, ROOT, ForeignNodeTable, NodeTable, TooManyNodes, pack
from tvix.mount.tree import Tree

A, B = digest_of(b"a"), digest_of(b"b")


def test_numbers_begin_at_the_root_and_go_on() -> None:
    table = NodeTable()
    assert table.append(pack(DIRECTORY, ROOT, NO_POSITION, 0, NO_DIGEST)) == ROOT
    assert table.append(pack(FILE, ROOT, 0, 1, A) + pack(FILE, ROOT, 1, 1 << 63, B)) == 2
    assert table.record(3) == (FILE, ROOT, 1, 1 << 63, B)
    for number in (0, 4, 1 << 40):
        with pytest.raises(KeyError):
            table.record(number)
    table.close()


def test_a_successor_takes_the_table_over() -> None:
    table = NodeTable()
    records = b"".join(pack(FILE, ROOT, number, number, A) for number in range(5000))
    assert table.append(records) == 1
    successor = NodeTable(os.dup(table.fd))
    table.close()
    assert successor.count == 5001
    assert successor.record(4321) == (FILE, ROOT, 4320, 4320, A)
    assert successor.append(pack(DIRECTORY, 1, 0, 0, B)) == 5001
    successor.close()


def test_numbers_end_with_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvix.mount.node_table._NUMBERS_MAX", 3)
    table = NodeTable()
    record = pack(FILE, ROOT, 0, 1, A)
    assert table.append(record * 2) == 1
    with pytest.raises(TooManyNodes):
        table.append(record)
    assert table.count == 3
    table.close()


@pytest.mark.parametrize("contents", [b"", bytes(64), b"TVIXNODE\2" + bytes(200), b"TVIXNODE\1\0\0\0\0\0\0\0\xff" + bytes(100)])
def test_something_else_is_not_taken_over(contents: bytes) -> None:
    other = os.memfd_create("other")
    os.write(other, contents)
    with pytest.raises(ForeignNodeTable):
        NodeTable(other)
    os.close(other)


def test_equal_files_share_a_number_unless_their_directories_disagree_on_the_size() -> None:
    tree = Tree(None)
    directory = Directory.of(
        [
            (Name(b"a"), FileNode(A, 1, False)),
            (Name(b"again"), FileNode(A, 1, False)),
            (Name(b"executable"), FileNode(A, 1, True)),
            (Name(b"lie"), FileNode(A, 2, False)),
            (Name(b"lie-again"), FileNode(A, 2, False)),
            (Name(b"link"), SymlinkNode(b"a")),
            (Name(b"link-again"), SymlinkNode(b"a")),
        ]
    )
    first = tree.adopt_path(b"one", directory.node)
    second = tree.adopt_path(b"two", directory.node)
    assert first != second
    names, others = tree.adopt(first, directory), tree.adopt(second, directory)
    assert names is tree.adopt(first, directory)
    assert names[b"a"] == names[b"again"] == others[b"a"]
    assert names[b"lie"] == names[b"lie-again"] == others[b"lie"]
    assert len({names[name] for name in (b"a", b"executable", b"lie", b"link", b"link-again")}) == 5
    assert others[b"link"] != names[b"link"]
    assert [tree.table.record(names[name])[3] for name in (b"a", b"lie", b"executable")] == [1, 2, 1]
    assert tree.target(others[b"link"]) == b"a"
