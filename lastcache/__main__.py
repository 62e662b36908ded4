"""``python -m lastcache``: an HTTP origin that dies and comes back, read by clients side by side."""

from lastcache._demo.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
