"""``python -m lastcache``: an HTTP origin that dies and comes back, read by clients side by side."""

import os
import signal


def _end_at_once(number: int, _frame: object) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    # Before all other imports: wherever the demonstration does not mind the signals, there is nothing to tidy up.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)

    from lastcache._demo.cli import main

    raise SystemExit(main())
