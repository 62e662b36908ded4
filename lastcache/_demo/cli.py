"""``python -m lastcache`` from its arguments to its exit status."""

import signal
import sys
from typing import Final

from lastcache._demo.checks import Broken, broken
from lastcache._demo.options import Options, parse
from lastcache._demo.outlet import Lasting, silence
from lastcache._demo.record import SECOND, TIMED, TIMED_WORKERS
from lastcache._demo.report import Result, as_json, warmed
from lastcache._demo.screen import screen_for
from lastcache._demo.show import breach_lines, table, verdict
from lastcache._demo.signals import Signals
from lastcache._demo.stage import Run, StageError, perform, play_outage
from lastcache._demo.summary import rows
from lastcache._demo.tally import lives, tally, words
from lastcache._demo.workers import play_workers

_BROKEN: Final = 1
_CANNOT: Final = 3
_SIGNALLED: Final = 128


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration and give its exit status, which ``--help`` explains."""
    options = parse(arguments)
    try:
        return _demonstrate(options)
    except BrokenPipeError:
        silence(sys.stdout)
        return _SIGNALLED + signal.SIGPIPE
    except (StageError, OSError) as trouble:
        sys.stderr.write(f"python -m lastcache: the demonstration could not go on: {trouble}\n")
        return _CANNOT


def _demonstrate(options: Options) -> int:
    # A run whose result goes to a file is worth going on with when whoever read has gone.
    out = sys.stdout if options.json is None else Lasting(sys.stdout)
    with Signals() as signals:
        with screen_for(out) as screen:
            out.write(f"{_headline(options)}\n")
            run = perform(options, screen, signals, play_workers if options.processes else play_outage)
        result = _result(options, run)
        if options.json is not None:
            options.json.write_text(f"{as_json(options, run, result)}\n", encoding="utf-8")
    out.write("\n".join([*_conclusion(run, result), ""]))
    out.flush()
    return _exit_status(signals.arrived, result.breaches)


def _result(options: Options, run: Run) -> Result:
    histories, switches, ttl = run.histories, run.switches, round(options.ttl * SECOND)
    if not options.processes:
        breaches, summary = broken(histories, switches, ttl), rows(histories, switches, TIMED)
        cached = frozenset(history.client for history in histories if history.cached)
        return Result(summary, breaches, verdict(summary, cached, breaches), None)
    counted = tally(histories, switches)
    kept = histories if options.store is not None else lives(histories, switches)
    return Result(
        rows(histories, switches, TIMED_WORKERS), broken(kept, switches, ttl), words(counted, options), counted
    )


def _headline(options: Options) -> str:
    if options.processes:
        return (
            f"{options.processes} workers, {options.rate:g} requests a second each, {options.keys} keys, "
            f"TTL {options.ttl:g} s, store: {options.store or 'none'}.\n"
            "The origin dies, worker A is killed and starts anew, the origin comes back, a key is deleted."
        )
    third = f"{options.seconds / 3:.3g}"
    count = "Five" if options.tasks else "Three"
    return (
        f"{count} clients, {options.rate:g} requests a second each, {options.keys} keys, TTL {options.ttl:g} s.\n"
        f"The origin is up for {third} s, dead for {third} s, and up again for {third} s."
    )


def _conclusion(run: Run, result: Result) -> tuple[str, ...]:
    if not run.switches:
        return ("Ended by a signal before the clock started: there is nothing to sum up.",)
    loaded, read = warmed(run)
    early = () if run.signal is None else ("Ended early by a signal: this is the summary so far.",)
    warmth = f"Warm-up (not counted): {loaded} of {read} first reads of the cached clients gave a value."
    closing = result.verdict.replace("; ", ";\n")
    return (
        "",
        table(result.rows),
        "",
        *early,
        warmth,
        closing,
        *breach_lines(result.breaches, run.switches[0].began_at),
    )


def _exit_status(arrived: int | None, breaches: tuple[Broken, ...]) -> int:
    if arrived is not None:
        return _SIGNALLED + arrived
    return _BROKEN if breaches else 0
