"""What an import costs: nothing is imported that is not used, and Hypothesis knows the records all the same."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

import lastcache

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parent.parent
OWN: Final = "print(*sorted(name for name in sys.modules if name.partition('.')[0] == 'lastcache'))"
NOT_NEEDED: Final = ("anyio", "asyncio", "hypothesis", "returns.future", "returns.pipeline", "returns.io", "trio")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The entry points of ``pyproject.toml`` as an installed distribution has them, whatever is installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [f"{name} = {place}\n" for name, place in project["entry-points"]["hypothesis"].items()]
    info = tmp_path / f"lastcache-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lastcache\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text("".join(["[hypothesis]\n", *entries]))
    return tmp_path


def said(program: str, *first: Path) -> Sequence[str]:
    """Run ``program`` in a process of its own, with ``first`` in front of its path, and give the words that it says."""
    path = os.pathsep.join(map(str, (*first, ROOT)))
    ended = subprocess.run(  # noqa: S603  # our own text
        [sys.executable, "-c", f"import sys; {program.lstrip()}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split()


def test_the_package_alone_imports_nothing() -> None:
    """``import lastcache`` imports no module of its own, none of returns, and little of the standard library."""
    assert said(f"import lastcache; {OWN}") == ["lastcache"]
    others = {"returns", "typing_extensions", "dataclasses", "logging", "concurrent", "threading", *NOT_NEEDED}
    assert said(f"import lastcache; print(*({others!r} & sys.modules.keys()))") == []


def test_the_cache_imports_what_it_uses() -> None:
    """Whoever uses the cache for threads pays for no event loop, no test kit, and no other container than its own."""
    present = said(f"from lastcache import *; print(*({set(NOT_NEEDED)!r} & sys.modules.keys()))")
    assert present == []
    own = said(f"from lastcache import *; {OWN}")
    assert "lastcache.threads" in own
    assert not [
        name for name in own if name.startswith(("lastcache.tasks", "lastcache.testing", "lastcache.pipelines"))
    ]


def test_a_config_needs_no_cache() -> None:
    """A name brings along no more than its own module needs."""
    assert "lastcache.threads" not in said(f"from lastcache import Config; {OWN}")


def test_every_public_name_is_there() -> None:
    """Each name is what its module holds, in ``dir``, after a star import, and as an attribute; another is refused."""
    assert set(lastcache.__all__) <= set(dir(lastcache))
    starred: dict[str, object] = {}
    exec("from lastcache import *", starred)  # noqa: S102  # what users write
    assert {name: getattr(lastcache, name) for name in lastcache.__all__} == {
        name: starred[name] for name in starred if name != "__builtins__"
    }
    with pytest.raises(AttributeError, match="module 'lastcache' has no attribute 'nothing'"):
        _ = lastcache.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # the very point


def test_modules_are_attributes() -> None:
    """The modules behind the public names are attributes of the package without an import of their own."""
    modules = ["config", "errors", "events", "records", "threads"]
    names = ", ".join(f"lastcache.{module}.__name__" for module in modules)
    assert said(f"import lastcache; print({names})") == [f"lastcache.{module}" for module in modules]


def test_hypothesis_alone_imports_no_lastcache(installed: Path) -> None:
    """A run of Hypothesis that does without lastcache imports the entry point, and nothing that does any work."""
    run = "from hypothesis import given, strategies as st; given(st.from_type(int))(lambda number: None)()"
    assert said(f"{run}; {OWN}", installed) == ["lastcache", "lastcache._hypothesis"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imports", "record"),
    [
        ("from hypothesis import strategies as st; from lastcache import CachedValue", "CachedValue[int, str]"),
        ("from lastcache import CachedValue; from hypothesis import strategies as st", "CachedValue[int, str]"),
        ("from hypothesis import strategies as st; from lastcache.records import StoredEntry", "StoredEntry"),
        ("from hypothesis import strategies as st; from lastcache import Config", "Config"),
        ("from lastcache.config import Config; from hypothesis import strategies as st", "Config"),
        ("import lastcache.testing.strategies, lastcache; from hypothesis import strategies as st", "lastcache.Config"),
    ],
)
def test_hypothesis_knows_the_records(installed: Path, imports: str, record: str) -> None:
    """Whichever comes first, and whatever way: ``from_type`` draws by the strategies of lastcache."""
    program = f"st.from_type({record}).validate(); print('lastcache.testing.strategies' in sys.modules)"
    assert said(f"{imports}; {program}", installed) == ["True"]


@pytest.mark.slow
def test_any_module_may_come_first_after_hypothesis(installed: Path) -> None:
    """To make the records known imports nothing that is half imported by then, wherever the import began."""
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "lastcache").rglob("*.py"))
    modules = [".".join(path.parts).removesuffix(".__init__") for path in files if "_demo" not in path.parts]
    program = f"""
import hypothesis
from importlib import import_module
for first in {sorted(set(modules) - {"lastcache.__main__"})}:
    for known in [name for name in sys.modules if name.partition(".")[0] == "lastcache"]:
        del sys.modules[known]
    import_module(first)
"""
    assert said(program, installed) == []


def test_where_hypothesis_is_missing() -> None:
    """Nothing asks for Hypothesis where it cannot be imported."""
    assert said("sys.modules['hypothesis'] = None; from lastcache import *; print(CachedValue(1).value)") == ["1"]


@pytest.mark.slow
def test_the_package_can_be_collected_alone() -> None:
    """The doctests of the package run by themselves: no module of it needs another to have been imported first."""
    ended = subprocess.run(  # our own tests
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--collect-only", "lastcache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
