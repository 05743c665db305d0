"""A radiograph from COVID-negative to COVID-positive, and what a CNN makes of it: `python interpolate.py --help`."""

from gan_explain.cli.interpolate import interpolate

if __name__ == "__main__":
    interpolate()
