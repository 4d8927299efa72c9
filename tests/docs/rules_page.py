"""Which test proves which rule: reads the tests, writes docs/rules.md.

    python tests/docs/rules_page.py           say what is missing or out of date
    python tests/docs/rules_page.py --write   write the page

A test proves the rules whose ids stand in its name (``test_q12_...``) or in its docstring, or in that of its class
(``Q12: ...``). Ids that only the docstring of a file has are proved by the file as a whole.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGE", "REQUIRED", "ROOT", "RULES", "Proof", "find_proofs", "missing", "page"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rules.md"

HEAD = """\
# Rules and their tests

Each rule of behaviour has an id, which comments in the code cite. A test that proves one carries the id in its name or its
docstring. This page is written by `python tests/docs/rules_page.py --write` from the tests; a test compares. Rules that no test
names yet are left out.
"""

SECTIONS = {
    "Q": "Queue, priority, visibility",
    "C": "The worker",
    "O": "Orders",
    "T": "Time",
    "S": "Seats",
    "W": "Explaining",
    "R": "Safety of the whole",
    "H": "Report",
}

RULES = {
    "Q1": "1 is the most urgent: priorities 100, 1, 10 are reserved as 1, 10, 100",
    "Q2": "jobs of one priority are reserved in the order in which they were accepted",
    "Q3": "a worker takes only jobs of its types and leaves the others where they are",
    "Q4": "the default priority is 10, and 100 for bulk loads and triggered jobs",
    "Q5": "a bad priority is refused before anything is stored",
    "Q6": "move changes the priority of a waiting job in one step; it keeps id and sequence",
    "Q7": "priority promises no order across workers",
    "Q8": "many workers at once: every job is reserved exactly once, and by whom is recorded",
    "Q9": "a running job is never interrupted by a more urgent one, which is next",
    "Q10": "the best job over all types of a worker is taken",
    "Q11": "a failed job stays listed with its error; nothing runs it again by itself",
    "Q12": "a job that is given back has its old priority and sequence",
    "Q13": "workers are processes: two on one host never touch each other's jobs",
    "Q14": "a report from a lease that was taken back is refused and changes nothing",
    "Q15": "a type without a live worker is accepted, waits, and is flagged",
    "Q16": "a unique job that waits or runs is not stored twice",
    "Q18": "who may only look can add nothing: the server refuses it",
    "Q19": "what is paused accepts jobs and runs none; what is closed refuses new jobs",
    "Q20": "an event gives all its triggered jobs in one atomic call",
    "Q21": "a handler can end a job as skipped: no failure",
    "Q22": "resubmit: ready again, same params and priority, attempts counted anew",
    "Q23": "cancel, settle and reap: exactly one wins; a running job is not removed",
    "Q24": "no batch job starts while a user's job that the worker supports waits",
    "Q25": "the list shows every waiting job with its priority, in reserve order over all types",
    "Q26": "tenant is stored, filterable and given to the handler; it guards nothing",
    "C1": "classic mode: the exact cycle of events",
    "C2": "classic mode: which logins are held when",
    "C3": "classic mode: the seat count returns to 0 between two jobs",
    "C4": "however a handler ends, its session is closed before the cycle goes on",
    "C5": "each job has its own session object",
    "C6": "hooks get no session of a job",
    "C7": "while jobs are there the next starts at once",
    "C8": "hooks run once a cycle or a process; one that raises stops nothing",
    "C9": "a job enqueued by on_sleep is handled in the next cycle",
    "C10": "a login wraps each job of its pool",
    "C11": "no free seat: the job is not reserved, not failed, not counted, and why names pool and holders",
    "C12": "a child that dies ends only its own job",
    "C13": "pause and drain: running jobs end, none starts; what is left is handed back or interrupted",
    "C14": "types are those of the handlers, narrowed by patterns; bad handlers are an error at the start",
    "C15": "a time limit ends the job",
    "C16": "the retry rule",
    "C17": "progress, log, cancelled, job, attempt",
    "C18": "a shell handler never goes through a shell string",
    "O1": "worker and server killed: the order goes on at the step in which it was",
    "O2": "the move to the next step is written in the script that settles the step",
    "O3": "one-time and scheduled orders are restored with all they had",
    "O4": "what follows a step that ended well, and one that failed: on_error",
    "O5": "each step's result is stored when it ends, and handed to later steps",
    "O6": "suspend during a step: it ends, the order moves on, then waits",
    "O7": "setback: the same step again, by a table of delays",
    "O8": "resume, skip, reset, remove, go to: each is one atomic call, and in the history",
    "O9": "an order's id that exists: refused, or replaced",
    "O10": "at most so many started orders of a chain; the others wait in order",
    "O11": "a stopped chain or step collects orders and loses none; a skipped step is passed",
    "O12": "a drained or killed worker is no failure of a step",
    "O13": "an order keeps the version of its chain with which it started",
    "O14": "steps side by side, joins, and a run for every element of a list",
    "O15": "Goto and codes choose the next step",
    "T1": "a job for a future moment runs at that moment, once, also after a restart",
    "T2": "a delay becomes an absolute moment at submission",
    "T3": "a moment that passed while everything was down: the job runs at once, once",
    "T4": "a job that was running at a kill is interrupted, unless its type says rerun",
    "T5": "promotion is atomic; ids never repeat",
    "T6": "schedules and their zones",
    "T7": "missed runs",
    "T8": "intervals",
    "T9": "windows of types",
    "T10": "planned starts are listed",
    "S1": "seats of several pools: all or none",
    "S2": "in use = the sum over the sessions, and never above the capacity",
    "S3": "a holder dies: its seats are back within lease + 2 renewal intervals, exactly once",
    "S4": "a reconnect never takes a second seat",
    "S5": "more seats than there are, or a pool that does not exist: never silent",
    "S6": "the most urgent waiting job with an idle worker is not starved of seats",
    "S7": "the last seats can be kept for the urgent",
    "S8": "seats used outside are withheld, shown apart, and expire",
    "S9": "a freed seat starts a waiting job at once when a worker is free",
    "S10": "programs may hold seats too, and lose them when they die",
    "S11": "move, resubmit and requeue keep the seats a job needs",
    "S12": "holders and waiters of a pool are listed in order",
    "S13": "seats come from the type's handlers, a job's own win, resolved at reserve; workers must agree",
    "W1": "why lists every obstacle",
    "W2": "when the last obstacle goes, the job starts",
    "W3": "after a restart, what was restored is told",
    "R1": "conservation: every id ever given is in exactly one place, or was trimmed or removed",
    "R2": "a request repeated after a lost reply has one effect",
    "R3": "scripts flushed, server restarted, failover, a worker paused: no loss, no double settle",
    "R4": "bad input is refused at the edge, with the argument's name and the limit",
    "R5": "the server's settings are checked",
    "R6": "nothing is ever unpickled, and error types are never rebuilt from names",
    "R7": "with retention, keys and memory return to where they were",
    "R8": "kills and lost connections lose nothing; a power cut loses at most 2 s with everysec",
    "H1": "the daily report's sums equal the history",
}


def _span(letter: str, *numbers: int) -> list[str]:
    return [f"{letter}{number}" for number in numbers]


#: What must have a test.
REQUIRED = [
    *_span("Q", *range(1, 17), *range(20, 27)),
    *_span("C", *range(1, 19)),
    *_span("T", *range(1, 11)),
    *_span("O", *range(1, 16)),
    *_span("S", *range(1, 14)),
    *_span("W", *range(1, 4)),
    *_span("R", *range(1, 9)),
    *_span("H", 1),
]

_IN_NAME = re.compile(r"(?<![a-z0-9])([a-z]\d{1,2})(?![a-z0-9])")
_IN_TEXT = re.compile(r"(?<![\w/.-])([A-Z]\d{1,2})(?![\w/-])")


class Proof(NamedTuple):
    """A test, and where it is (from the root of the repository); without a name, all of the file."""

    path: str
    name: str


def find_proofs(root: Path) -> dict[str, list[Proof]]:
    """Return the tests of each rule, by rule, sorted."""
    found: dict[str, set[Proof]] = {}
    for file in sorted((root / "tests").rglob("test_*.py")):
        path = file.relative_to(root).as_posix()
        tree = ast.parse(file.read_text("utf-8"))
        whole = set(_IN_TEXT.findall(ast.get_docstring(tree) or ""))
        single = list(_tests(tree, "", set()))
        named = set().union(*(rules for _, rules in single))
        for name, rules in [("", whole - named), *single]:
            for rule in rules & RULES.keys():
                found.setdefault(rule, set()).add(Proof(path, name))
    return {rule: sorted(found[rule]) for rule in RULES if rule in found}


def _tests(node: ast.AST, within: str, rules: set[str]) -> Iterator[tuple[str, set[str]]]:
    for item in ast.iter_child_nodes(node):
        if not isinstance(item, ast.ClassDef | ast.FunctionDef):
            continue
        here = rules | {rule.upper() for rule in _IN_NAME.findall(item.name)}
        here |= set(_IN_TEXT.findall(ast.get_docstring(item) or ""))
        if isinstance(item, ast.ClassDef):
            yield from _tests(item, f"{within}{item.name}.", here)
        elif item.name.startswith("test_"):
            yield within + item.name, here


def missing(proofs: dict[str, list[Proof]]) -> list[str]:
    """Return the required rules that no test names."""
    return [rule for rule in REQUIRED if rule not in proofs]


def page(proofs: dict[str, list[Proof]]) -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for letter, title in SECTIONS.items():
        rules = [rule for rule in proofs if rule[0] == letter]
        if not rules:
            continue
        rows = [f"| {rule} | {RULES[rule]} | {_shown(proofs[rule])} |" for rule in rules]
        parts.append(
            "\n".join([f"## {letter}: {title}", "", "| rule | says | tests |", "| --- | --- | --- |", *rows, ""])
        )
    return "\n".join(parts)


def _shown(proofs: list[Proof]) -> str:
    by_file: dict[str, list[str]] = {}
    for proof in proofs:
        by_file.setdefault(proof.path, []).append(f"`{proof.name}`" if proof.name else "all of it")
    return "<br>".join(f"[{path}](../{path}): {', '.join(names)}" for path, names in by_file.items())


def main(words: list[str]) -> int:
    """Write the page, or say what is wrong with it."""
    proofs = find_proofs(ROOT)
    text = page(proofs)
    if "--write" in words:
        PAGE.write_text(text, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != text:
        sys.stdout.write("docs/rules.md is out of date: python tests/docs/rules_page.py --write\n")
        return 1
    lacking = missing(proofs)
    if lacking:
        sys.stdout.write(f"no test names {', '.join(lacking)}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
