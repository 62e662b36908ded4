"""``python -m tests.moving`` writes ``docs/moving.md`` anew."""

from tests.moving.page import PAGE, seen_by_users, written

if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), seen_by_users))
