"""docs/rules.md is what the tests say, and every rule that must have a test has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs.rules_page import PAGE, REQUIRED, ROOT, RULES, find_proofs, missing, page

PROOFS = find_proofs(ROOT)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(PROOFS), "python tests/docs/rules_page.py --write"


@pytest.mark.parametrize("rule", REQUIRED)
def test_a_test_names_the_rule(rule: str) -> None:
    assert rule in PROOFS, f"no test has {rule} in its name or docstring"


def test_what_is_required_is_a_rule() -> None:
    assert set(REQUIRED) <= RULES.keys()


def test_names_and_docstrings_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "rules"
    folder.mkdir(parents=True)
    (folder / "test_some.py").write_text(
        '''\
"""All of it is about W1."""
def test_q1_by_name(): ...
def test_s1_s2_by_two_names(): ...
def test_by_text():
    """It holds (R4, Q12). Files such as tests/Q5.py and UTF-8 are no rules, nor is X9."""
class TestMany:
    """Q22: what all of them prove."""
    def test_one(self): ...
    def helper_q7(self): ...
''',
        "utf-8",
    )
    proofs = find_proofs(tmp_path)
    assert {rule: [proof.name for proof in found] for rule, found in proofs.items()} == {
        "Q1": ["test_q1_by_name"],
        "Q12": ["test_by_text"],
        "Q22": ["TestMany.test_one"],
        "S1": ["test_s1_s2_by_two_names"],
        "S2": ["test_s1_s2_by_two_names"],
        "W1": [""],
        "R4": ["test_by_text"],
    }
    assert "Q1" not in missing(proofs)
    assert "R8" in missing(proofs)
