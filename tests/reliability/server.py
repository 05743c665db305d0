"""A process that has imported what takes long and forks for every command, so that a test need not wait for imports.

A line of JSON on standard input is a command: {"run": [words], "folder": where, "log": file, "largest": bytes or null}. Words are
those of `gan-explain`, or of a Python script where the first ends in .py. Answers: the child's process id, then its exit code
(negative: the signal that ended it), a line each.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import sys
import traceback
from importlib import import_module
from typing import Any

# What most commands need; the rest is imported by the child that needs it.
IMPORTED = ("cli.interpolate", "cli.train.segmenter", "counterfactual", "render", "targets", "train.segmenter")


def work(words: list[str], folder: str, log: str, largest: int | None) -> int:
    """In the child: run the words; returns the exit code."""
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        if words[0].endswith(".py"):
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
        else:
            import_module("gan_explain.cli").main(words)
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def main() -> None:
    for module in IMPORTED:
        import_module(f"gan_explain.{module}")
    say("ready")
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 98
            try:
                code = work(job["run"], job["folder"], job["log"], job["largest"])
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        say(child)
        _, status = os.waitpid(child, 0)
        say(os.waitstatus_to_exitcode(status))


def say(answer: object) -> None:
    os.write(1, f"{answer}\n".encode())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
