"""The command line: arguments to one call, its result to text, its trouble to an exit code."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys

BUG = 70  # EX_SOFTWARE


def main() -> None:
    """The console script."""
    code = run()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # Freeing everything object by object takes a tenth of a second; the system does it at once.
    os._exit(code)


def run() -> int:
    """The command of sys.argv. Errors become one message on stderr and the exit code of their class."""
    from routecost.cli.app import app
    from routecost.errors import RoutecostError

    # Hundreds of thousands of objects of prices and modules stay for good: looking for garbage among them is time lost.
    gc.set_threshold(200_000, 50, 50)
    # Threads that come back from Polars must not wait 5 ms (the default) for one that runs Python.
    sys.setswitchinterval(0.0005)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal that has no rulers or umlauts shows question marks
            stream.reconfigure(errors="replace")
    try:
        code = app(standalone_mode=False, prog_name="routecost")
        sys.stdout.flush()
    except RoutecostError as error:
        _say(str(error))
        code = error.exit_code
    except BrokenPipeError:
        # the reader has seen enough (`| head`); the interpreter must not complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        _say(f"cannot write the result: {error.strerror or error}. Choose another place with -o, or make room.")
        code = RoutecostError.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        code = 130
    except Exception as error:
        code = _click_code(error)
    return code if isinstance(code, int) else 0


def _click_code(error: Exception) -> int:
    """Typer's own errors (wrong options, exit, abort) as exit codes; anything else is a bug and is raised."""
    show = getattr(error, "show", None)
    exit_code = getattr(error, "exit_code", None)
    if callable(show) and isinstance(exit_code, int):
        show()
        return exit_code
    if isinstance(exit_code, int):
        return exit_code
    if type(error).__name__ == "Abort":
        _say("aborted")
        return 1
    if "ROUTECOST_DEBUG" in os.environ:
        raise error
    _say(
        f"a bug in routecost: {type(error).__name__}: {error}. Nothing is wrong with your files for this reason alone. "
        "ROUTECOST_DEBUG=1 shows where; please report it with the command."
    )
    return BUG


def _say(text: str) -> None:
    sys.stderr.write(f"routecost: {text}\n")
