"""Where `radio` and `python -m radio_cli` begin: Ctrl-C while modules are imported, or at the end, shows no traceback.

Nothing has begun before `main`, and nothing is left to do behind it, so there the process may simply end.
"""

import signal


def start() -> None:
    """Import the command tree and run it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from radio_cli.main import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    start()
