"""What type checkers see of lastcache: read by mypy and pyright, and run, too."""
