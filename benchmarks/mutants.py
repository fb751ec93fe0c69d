"""Mutation testing: one small error at a time in kernels, track, speed, abstain and zones.

python benchmarks/mutants.py                       (--count 200 --seed 0 --jobs 2; about a minute for 10)
python benchmarks/mutants.py --files speed --count 30
python benchmarks/mutants.py --files .hpp --count 40     (the C++ kernels, each mutant compiled by cmake)

A mutant is one change of the source: a comparison, an operator, a constant, a condition, or a statement left
out. It is killed where the tests of its room fail or take more than a minute, in a copy of the tree.
Left out: annotations, decorators, texts of messages, guards against division by 0 (constants below 1e-5), and
the mutants of EQUIVALENT, which no test can notice.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2  # noqa: F401
import hypothesis  # noqa: F401
import lap  # noqa: F401
import numpy  # noqa: F401
import pytest
import shapely  # noqa: F401
from bench import conditions, save

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "edgevid/kernels/reference/boxes.py": ["tests/kernels/test_boxes.py"],
    "edgevid/kernels/reference/tracker.py": [
        "tests/kernels/test_tracker.py", "tests/kernels/test_assignment.py", "tests/test_track.py",
    ],
    "edgevid/kernels/reference/pixels.py": ["tests/kernels/test_pixels.py"],
    "edgevid/kernels/reference/ground_filter.py": ["tests/kernels/test_ground_filter.py"],
    "edgevid/kernels/reference/policy.py": ["tests/kernels/test_policy.py"],
    "edgevid/track.py": ["tests/test_track.py"],
    "edgevid/kernels/reference/zones.py": ["tests/zones"],
    "edgevid/zones/*.py": ["tests/zones"],
    "edgevid/speed/*.py": [
        "tests/speed/test_lens.py", "tests/speed/test_abstain.py", "tests/speed/test_window.py",
        "tests/speed/test_track_speed.py", "tests/speed",
    ],
    "edgevid/abstain/*.py": ["tests/abstain"],
    "edgevid/kernels/assignment.hpp": ["tests/kernels/test_assignment.py", "tests/kernels/test_tracker.py"],
    "edgevid/kernels/boxes.hpp": ["tests/kernels/test_boxes.py"],
    "edgevid/kernels/tracker.hpp": ["tests/kernels/test_tracker.py", "tests/test_track.py"],
    "edgevid/kernels/ground_filter.hpp": ["tests/kernels/test_ground_filter.py"],
    "edgevid/kernels/policy.hpp": ["tests/kernels/test_policy.py"],
}  # fmt: skip
"""Which tests answer for which file, the quick ones first."""
LIMIT_S = 120.0
"""For all tests of a mutant together."""
COMPARISONS = {
    ast.Lt: ("<", ["<=", ">="]), ast.LtE: ("<=", ["<", ">"]), ast.Gt: (">", [">=", "<="]),
    ast.GtE: (">=", [">", "<"]), ast.Eq: ("==", ["!="]), ast.NotEq: ("!=", ["=="]),
    ast.Is: ("is", ["is not"]), ast.IsNot: ("is not", ["is"]), ast.In: ("in", ["not in"]),
    ast.NotIn: ("not in", ["in"]),
}  # fmt: skip
OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
    ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
}  # fmt: skip
CPP = re.compile(r"(?<= )(<=|>=|==|!=|<|>|&&|\|\||\+|-|\*|/)(?= )|(?<![\w.])\d+\.\d+(?![\w.])")
"""Operators between spaces and numbers with a point, in C++."""
CPP_SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
CPP_SWAPS |= {"+": "-", "-": "+", "*": "/", "/": "*"}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}
SKIPPED = (ast.JoinedStr, ast.Import, ast.ImportFrom)
SAME = "two measured numbers are never exactly equal"
LINEAR = "the direct linear transform of four exact points does not depend on the normalization"
EQUIVALENT = (
    ("speed/", "if not (best < 0.5", "if not (best <= 0.5", SAME),
    ("speed/", "row) > OUTLIER_PX", "row) >= OUTLIER_PX", SAME),
    ("speed/", ".max() < 1e-6", ".max() <= 1e-6", SAME),
    ("speed/", "_chi_square(v, cov) < MOVING", "_chi_square(v, cov) <= MOVING", SAME),
    ("speed/", "return np.array([[s, 0, -s * center[0]]", "*", LINEAR),
    ("speed/", "ends[1] - ends[0], 0.0)", "0], 1.0)", "the length counts from three sightings on"),
    ("speed/", "len(error) > 5", ">= 5", "of five points that are wrong the branch before is taken"),
    ("speed/", "head[2] > foot[1]", "head[2] >= foot[1]", SAME),
    ("kernels/", "3 * most)", "4 * most)", "any cost above the limit of most is the same"),
    ("speed/abstain.py", "unknown[~good] = (", "*", "what is computed for these boxes is not used"),
    ("abstain/file.py", "low=1)", "low=2)", "1 is the default, and a default is not checked"),
    ("kernels/", "if len(o.recent) < 2", "if False", "one observation has a travel of 0, and so a cosine of 0"),
    ("kernels/", "w <= 0 or h <= 0", "h < 0", "the overlap is 0 either way"),
    ("kernels/", "max(p[2, 2], p[3, 3]) if u", "*", "at speed 0, the first row, both are the prior"),
    ("kernels/reference/tracker.py", "if s.observation_centric:", "if True", "only the re-update reads it"),
    ("", "reshape(-1", "reshape(-2", "NumPy takes any negative number for the size that is left"),
    ("kernels/", "- 1) > 1e-2", "- 1) >= 1e-2", SAME),
    ("kernels/", 't.ema[t.decided] < self._s["drop"]', "<= self", SAME),
    ("speed/track_speed.py", "break", "pass", "more steps change nothing beyond 1e-6"),
)
"""File, part of its line, part of the mutated line (* for any), and why no test can tell them apart."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    line: int
    start: int
    end: int
    text: str

    def of(self, source: bytes) -> bytes:
        """The mutated source."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The lines that change, before and after, without indentation."""
        begin = source.rfind(b"\n", 0, self.start) + 1
        rest = source.find(b"\n", self.end)
        after = self.of(source)
        shift = len(after) - len(source)
        before, mutated = source[begin:rest].decode(), after[begin : rest + shift].decode()
        return " ".join(before.split()), " ".join(mutated.split())


class Finder(ast.NodeVisitor):
    """All mutants of one file."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source, self.found = file, source, list[Mutant]()
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts
        self.visit(ast.parse(source))

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _add(self, node: ast.expr | ast.stmt, start: int, end: int, *texts: str) -> None:
        self.found += [Mutant(self.file, node.lineno, start, end, text) for text in texts]

    def _between(self, node: ast.expr, left: ast.expr, right: ast.expr, old: str, *new: str) -> None:
        """Replaces the operator between two expressions."""
        begin, end = self._span(left)[1], self._span(right)[0]
        pattern = r"\s+".join(map(re.escape, old.split())).encode()
        place = re.search(pattern, self.source[begin:end])
        if place:
            self._add(node, begin + place.start(), begin + place.end(), *new)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.keyword) and node.arg == "strict":
            return
        if isinstance(node, SKIPPED) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return
        getattr(self, f"_{type(node).__name__}", lambda _: None)(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    def _Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
            old, new = COMPARISONS[type(op)]
            self._between(node, left, right, old, *new)

    def _BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in OPERATORS:
            self._between(node, node.left, node.right, *OPERATORS[type(node.op)])

    def _AugAssign(self, node: ast.AugAssign) -> None:
        self._statement(node)
        if type(node.op) in OPERATORS:
            old, new = OPERATORS[type(node.op)]
            self._between(node.value, node.target, node.value, old, new)

    def _BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(node, left, right, old, new)

    def _UnaryOp(self, node: ast.UnaryOp) -> None:
        start = self._span(node)[0]
        self._add(node, start, start + (3 if isinstance(node.op, ast.Not) else 1), "")

    def _Constant(self, node: ast.Constant) -> None:
        value, span = node.value, self._span(node)
        if isinstance(value, bool):
            self._add(node, *span, str(not value))
        elif isinstance(value, int):
            self._add(node, *span, str(value + 1))
        elif isinstance(value, float) and (value == 0 or value > 1e-5):
            self._add(node, *span, repr(value * 2 or 1.0))

    def _Name(self, node: ast.Name) -> None:
        if node.id in NAMES:
            self._add(node, *self._span(node), NAMES[node.id])

    def _Attribute(self, node: ast.Attribute) -> None:
        if node.attr in NAMES:
            end = self._span(node)[1]
            self._add(node, end - len(node.attr), end, NAMES[node.attr])

    def _If(self, node: ast.If | ast.IfExp) -> None:
        self._add(node.test, *self._span(node.test), "True", "False")

    _IfExp = _If

    def _statement(self, node: ast.stmt) -> None:
        self._add(node, *self._span(node), "pass")

    _Expr = _Raise = _Continue = _Break = _statement

    def _Assign(self, node: ast.Assign) -> None:
        if not (node.col_offset == 0 and isinstance(node.value, ast.Subscript)):  # the name of a type
            self._statement(node)

    def _Return(self, node: ast.Return) -> None:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            self._add(node, *self._span(node), "return None")


def mutants_of(file: str, source: bytes) -> list[Mutant]:
    """All mutants of one file."""
    if file.endswith(".py"):
        return Finder(file, source).found
    found, start = list[Mutant](), 0
    for number, line in enumerate(source.decode().splitlines(keepends=True), 1):
        for place in CPP.finditer(line.partition("//")[0]):
            text = CPP_SWAPS.get(place[0]) or repr(2 * float(place[0]) or 1.0)
            found.append(Mutant(file, number, start + place.start(), start + place.end(), text))
        start += len(line.encode())
    return found


def is_equivalent(mutant: Mutant, source: bytes) -> bool:
    """Whether EQUIVALENT names it."""
    before, after = mutant.lines(source)
    return any(
        file in mutant.file and old in before and (new == "*" or (new in after and new not in before))
        for file, old, new, _ in EQUIVALENT
    )


def targets(part: str) -> Iterator[str]:
    """The files to mutate whose path contains `part`; C++ only where that asks for it."""
    for pattern in ROOMS:
        paths = [path for path in ROOT.glob(pattern) if path.name != "__init__.py" and part in str(path)]
        paths = [path for path in paths if path.suffix == ".py" or ".hpp" in part]
        yield from sorted(str(path.relative_to(ROOT)) for path in paths)


def tests_of(file: str) -> list[str]:
    """Which tests answer for `file`."""
    return next(tests for pattern, tests in ROOMS.items() if fnmatch(file, pattern))


def copy_tree(folder: Path) -> Path:
    """The tracked files and the compiled kernels."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    native = [str(path.relative_to(ROOT)) for path in (ROOT / "edgevid/kernels").glob("_native*.so")]
    for name in [*listed.stdout.splitlines(), *native]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, tests: list[str]) -> bool:
    """Whether the tests pass in `tree`: in a fork of this process, which keeps imports of other packages."""
    child = os.fork()
    if child:
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status == 0
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(tree)
    for name in [name for name in sys.modules if name.partition(".")[0] == "edgevid"]:
        del sys.modules[name]
    sys.path[0] = os.environ["PYTHONPATH"] = str(tree)
    sys.dont_write_bytecode = True
    skip = "not threads and not ten_thousand"
    os._exit(int(pytest.main(["-x", "-q", "--timeout", "60", "-p", "no:cacheprovider", "-k", skip, *tests])))


TREES: list[Path] = []
"""The copy of this worker."""


def _own_tree(free: Any) -> None:
    TREES.append(free.get())


def build(tree: Path) -> bool:
    """Whether the C++ kernels of `tree` compile, in place."""
    options = [f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"]
    configure = ["cmake", "-S", str(tree), "-B", str(tree / "build"), *options]
    compiles = ["cmake", "--build", str(tree / "build")]
    return all(subprocess.run(step, capture_output=True).returncode == 0 for step in (configure, compiles))


def survives(mutant: Mutant) -> tuple[Mutant, bool | None]:
    """Whether the tests of its room pass with the mutant; None where it does not compile."""
    path = TREES[0] / mutant.file
    source = path.read_bytes()
    try:
        path.write_bytes(mutant.of(source))
        if path.suffix == ".hpp" and not build(TREES[0]):
            return mutant, None
        return mutant, run_tests(TREES[0], tests_of(mutant.file))
    finally:
        path.write_bytes(source)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--files", default="", help="only files whose path contains this; nothing is saved")
    given = options.parse_args()
    sources = {file: (ROOT / file).read_bytes() for file in targets(given.files)}
    every = [mutant for file, source in sources.items() for mutant in mutants_of(file, source)]
    equal = [m for m in every if is_equivalent(m, sources[m.file])]
    chosen = random.Random(given.seed).sample([m for m in every if m not in equal], given.count)
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        trees = [copy_tree(Path(folder) / str(n)) for n in range(given.jobs)]
        for tests in {tuple(tests_of(file)) for file in sources}:
            if not run_tests(trees[0], list(tests)):
                raise SystemExit(f"the tests fail without a mutant: {' '.join(tests)}")
        context = get_context("fork")
        free = context.SimpleQueue()
        for tree in trees:
            free.put(tree)
        with context.Pool(given.jobs, _own_tree, (free,)) as pool:
            for mutant, alive in pool.imap_unordered(survives, list(chosen)):
                before, after = mutant.lines(sources[mutant.file])
                fate = {True: "ALIVE", False: "killed", None: "does not compile"}[alive]
                print(f"{fate} {mutant.file}:{mutant.line}\n- {before}\n+ {after}", flush=True)
                survivors.extend([mutant] * bool(alive))
                if alive is None:
                    chosen.remove(mutant)
    killed = len(chosen) - len(survivors)
    print(f"{killed} of {len(chosen)} killed, out of {len(every)} possible mutants")
    if given.files:
        return
    made, alive = Counter(m.file for m in chosen), Counter(m.file for m in survivors)
    result = {
        "possible": len(every), "equivalent": len(equal), "mutants": len(chosen), "killed": killed,
        "rows": [["file", "mutants", "killed"], *[[f, n, n - alive[f]] for f, n in sorted(made.items())]],
        "equivalents": EQUIVALENT,
        "survivors": [
            [f"{m.file}:{m.line}", *m.lines(sources[m.file])]
            for m in sorted(survivors, key=lambda m: (m.file, m.line))
        ],
    }  # fmt: skip
    print(save("mutants", result, conditions()))


if __name__ == "__main__":
    main()
