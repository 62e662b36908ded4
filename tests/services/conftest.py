"""The services run in processes of their own, and what they are made with may be missing: no doctest is looked for."""

collect_ignore_glob = ["*_service.py"]
