"""`python -m gan_explain`."""

from __future__ import annotations

from gan_explain.cli import main

if __name__ == "__main__":
    main(prog_name="gan-explain")
