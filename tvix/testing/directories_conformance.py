"""What every directory service is held to.

A back end's test module says `from tvix.testing.directories_conformance import *` and gives the fixture `service`: an empty store
that also takes writes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tvix.castore.digests import Digest, digest_of, parse_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Node, SymlinkNode, check_name
from tvix.errors import EX_DATAERR, TvixError

ABSENT = digest_of(b"never stored")
BLOB = digest_of(b"contents")
EMPTY = Directory.of([])


def directory(**entries: Node) -> Directory:
    """A directory with these names."""
    return Directory.of([(check_name(name.encode()), node) for name, node in entries.items()])


LEAF = directory(a=FileNode(BLOB, 8, False), b=SymlinkNode(b"a"))
MIDDLE = directory(leaf=LEAF.node, other=FileNode(BLOB, 8, True))
ROOT = directory(again=LEAF.node, empty=EMPTY.node, middle=MIDDLE.node)
TREE = [EMPTY, LEAF, MIDDLE, ROOT]


def digests(directories: list[Directory]) -> list[Digest]:
    """Their names."""
    return [each.digest for each in directories]


def chain(length: int) -> list[Directory]:
    """Directories in directories, the innermost first."""
    found = [LEAF]
    while len(found) < length:
        found.append(directory(below=found[-1].node))
    return found


def test_a_stored_directory_reads_back(service: DirectoryService) -> None:
    service.put([LEAF])
    found = service.get_many([LEAF.digest])[LEAF.digest]
    assert (found.encoded, found.digest, dict(found.entries)) == (LEAF.encoded, LEAF.digest, dict(LEAF.entries))


def test_the_name_of_a_tree_is_that_of_its_root(service: DirectoryService) -> None:
    assert service.put(TREE) == ROOT.digest


def test_names_are_those_of_the_deployed_daemons(service: DirectoryService) -> None:
    a = EMPTY
    b = directory(a=a.node)
    d = directory(a=a.node, b=b.node)
    e = directory(d=d.node)
    assert service.put([a, b, d, e]) == parse_digest("333c798237cae53a66655761fa232338cc20d1ac45a08e519204eec0bc739103")
    assert [each.size for each in service.closure(e.digest)] == [8, 6, 0, 2]


def test_an_unknown_directory_is_left_out(service: DirectoryService) -> None:
    assert service.get_many([ABSENT]) == {}


def test_many_are_answered_at_once_the_unknown_left_out(service: DirectoryService) -> None:
    service.put(TREE)
    assert set(service.get_many([*digests(TREE), ABSENT])) == set(digests(TREE))


def test_asking_twice_for_one_is_asking_once(service: DirectoryService) -> None:
    service.put([LEAF])
    assert list(service.get_many([LEAF.digest, LEAF.digest])) == [LEAF.digest]


def test_asking_for_nothing_gives_nothing(service: DirectoryService) -> None:
    assert service.get_many([]) == {}
    assert service.missing([]) == set()


def test_missing_answers_for_many_at_once(service: DirectoryService) -> None:
    service.put(TREE)
    assert service.missing([*digests(TREE), ABSENT]) == {ABSENT}


def test_the_empty_directory_is_there_only_when_stored(service: DirectoryService) -> None:
    assert service.missing([EMPTY.digest]) == {EMPTY.digest}
    assert service.put([EMPTY]) == EMPTY.digest
    assert service.missing([EMPTY.digest]) == set()
    assert dict(service.get_many([EMPTY.digest])[EMPTY.digest].entries) == {}
    assert [each.digest for each in service.closure(EMPTY.digest)] == [EMPTY.digest]


def test_a_closure_is_told_parents_first_each_once(service: DirectoryService) -> None:
    service.put(TREE)
    told = [each.digest for each in service.closure(ROOT.digest)]
    assert told[0] == ROOT.digest
    assert sorted(told) == sorted(digests(TREE))


def test_every_directory_of_a_closure_was_named_before(service: DirectoryService) -> None:
    service.put(TREE)
    named = {ROOT.digest}
    for each in service.closure(ROOT.digest):
        assert each.digest in named
        named.update(child.digest for child in each.children())


def test_the_closure_of_a_part_is_that_part(service: DirectoryService) -> None:
    service.put(TREE)
    assert [each.digest for each in service.closure(MIDDLE.digest)] == [MIDDLE.digest, LEAF.digest]


def test_the_closure_of_something_unknown_is_empty(service: DirectoryService) -> None:
    assert list(service.closure(ABSENT)) == []


def test_a_closure_needn_t_be_read_to_its_end(service: DirectoryService) -> None:
    service.put(chain(50))
    first = next(iter(service.closure(chain(50)[-1].digest)))
    assert first.digest == chain(50)[-1].digest


def test_nothing_can_t_be_stored(service: DirectoryService) -> None:
    with pytest.raises(ValueError, match="no directories"):
        service.put([])


def test_a_child_that_nobody_has_is_refused(service: DirectoryService) -> None:
    with pytest.raises(TvixError) as refused:
        service.put([MIDDLE])
    assert refused.value.exit_code == EX_DATAERR
    assert service.missing([MIDDLE.digest]) == {MIDDLE.digest}


def test_a_child_that_comes_after_its_parent_is_refused(service: DirectoryService) -> None:
    with pytest.raises(TvixError) as refused:
        service.put([MIDDLE, LEAF])
    assert refused.value.exit_code == EX_DATAERR
    assert service.missing([MIDDLE.digest]) == {MIDDLE.digest}


@pytest.mark.parametrize("wrong", [0, 1, 3, 5, 1 << 63])
def test_a_child_of_another_size_is_refused(service: DirectoryService, wrong: int) -> None:
    liar = directory(leaf=DirectoryNode(LEAF.digest, wrong))
    with pytest.raises(TvixError) as refused:
        service.put([LEAF, liar])
    assert refused.value.exit_code == EX_DATAERR
    assert service.missing([liar.digest]) == {liar.digest}


def test_a_stored_child_of_another_size_is_refused(service: DirectoryService) -> None:
    service.put([LEAF])
    with pytest.raises(TvixError):
        service.put([directory(leaf=DirectoryNode(LEAF.digest, 99))])


def test_the_published_count_is_taken_too(service: DirectoryService) -> None:
    parent = directory(leaf=DirectoryNode(LEAF.digest, LEAF.published_size))
    assert service.put([LEAF, parent]) == parent.digest
    assert [each.digest for each in service.closure(parent.digest)] == [parent.digest, LEAF.digest]


def test_a_child_may_have_come_before(service: DirectoryService) -> None:
    service.put([LEAF])
    assert service.put([MIDDLE]) == MIDDLE.digest
    service.sync()
    service.put([EMPTY])
    assert service.put([ROOT]) == ROOT.digest
    assert len(list(service.closure(ROOT.digest))) == 4


def test_repetitions_are_harmless(service: DirectoryService) -> None:
    assert service.put([LEAF, LEAF, EMPTY, MIDDLE, LEAF, MIDDLE, ROOT]) == ROOT.digest
    assert service.put(TREE) == ROOT.digest
    assert len(list(service.closure(ROOT.digest))) == 4


def test_a_tree_may_come_from_an_iterator(service: DirectoryService) -> None:
    assert service.put(iter(TREE)) == ROOT.digest


def test_what_was_right_before_an_error_leaves_no_root(service: DirectoryService) -> None:
    with pytest.raises(TvixError):
        service.put([LEAF, ROOT])
    assert service.missing([ROOT.digest]) == {ROOT.digest}


def test_depth_doesn_t_matter(service: DirectoryService) -> None:
    deep = chain(400)
    assert service.put(deep) == deep[-1].digest
    assert [each.digest for each in service.closure(deep[-1].digest)] == digests(deep[::-1])


def test_width_doesn_t_matter(service: DirectoryService) -> None:
    wide = Directory.of([(check_name(b"%06d" % number), FileNode(BLOB, number, False)) for number in range(20_000)])
    service.put([wide])
    assert service.get_many([wide.digest])[wide.digest].encoded == wide.encoded


def test_thousands_of_directories_in_one_tree(service: DirectoryService) -> None:
    leaves = [directory(only=FileNode(BLOB, number, False)) for number in range(2000)]
    root = Directory.of([(check_name(b"%04d" % number), leaf.node) for number, leaf in enumerate(leaves)])
    service.put([*leaves, root])
    assert len(list(service.closure(root.digest))) == 2001
    assert len(service.get_many(digests(leaves))) == 2000


def test_names_and_targets_are_bytes(service: DirectoryService) -> None:
    odd = Directory.of(
        [
            (check_name(b"\xff\xfe\x01"), FileNode(BLOB, (1 << 64) - 1, True)),
            (check_name("ä ö".encode()), SymlinkNode(b"\xff/../../etc")),
            (check_name(b"n" * 255), SymlinkNode(b"t" * 4095)),
            (check_name(b"..."), EMPTY.node),
        ]
    )
    service.put([EMPTY, odd])
    assert dict(service.get_many([odd.digest])[odd.digest].entries) == dict(odd.entries)


def test_everything_is_still_there_after_sync(service: DirectoryService) -> None:
    service.put(TREE)
    service.sync()
    service.sync()
    assert sorted(each.digest for each in service.closure(ROOT.digest)) == sorted(digests(TREE))


def test_threads_may_share_a_service(service: DirectoryService) -> None:
    def work(number: int) -> bool:
        mine = directory(number=FileNode(BLOB, number % 7, False))
        root = directory(mine=mine.node, middle=MIDDLE.node)
        service.put([LEAF, MIDDLE, mine, root])
        return sorted(digests(list(service.closure(root.digest)))) == sorted(digests([root, MIDDLE, LEAF, mine]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
