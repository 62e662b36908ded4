"""The generated parts of ``docs/moving.md``: the text of the programs, and what their users saw.

``python -m tests.moving`` writes them into the page; a test says when they are no longer true.
"""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

FOLDER: Final = Path(__file__).parent
PAGE: Final = FOLDER.parent.parent / "docs" / "moving.md"
PEERS: Final = ("cachetools", "lru_cache", "async_lru", "dogpile", "cashews_early", "cashews_failover", "aiocache")
MOMENTS: Final = ("first call", "second call", "outage, value expired", "source is back", "a call later")

Seen: TypeAlias = Callable[[str], list[str]]


def seen_by_users(program: str) -> list[str]:
    """Run ``program`` as a new module, and give what its users saw."""
    seen: list[str] = runpy.run_path(str(FOLDER / f"{program}.py"))["main"]()
    return seen


def generated(seen: Seen) -> dict[str, str]:
    """Give each part of the page that is written here."""
    return {"bank": _text("bank")} | {peer: _pair(peer, seen) for peer in PEERS}


def _pair(peer: str, seen: Seen) -> str:
    before, after = f"{peer}_before", f"{peer}_after"
    told = [("before", *seen(before)), ("after", *seen(after))]
    head = ("", *MOMENTS)[: len(told[0])]
    table = [_row(head), f"|{'---|' * len(head)}", *map(_row, told)]
    return "\n".join(["Before:", "", _text(before), "", "After:", "", _text(after), "", "What users saw:", "", *table])


def _text(program: str) -> str:
    return f"```python\n{(FOLDER / f'{program}.py').read_text().rstrip()}\n```"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def written(page: str, seen: Seen) -> str:
    """Give ``page`` with its generated parts made new."""
    for name, text in generated(seen).items():
        marked = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        place = marked.search(page)
        if place is None:
            raise ValueError(f"the page has no place for {name}")
        page = f"{page[: place.start()]}{place[1]}{text}\n{place[2]}{page[place.end() :]}"
    return page
