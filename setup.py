"""What setup.cfg cannot say: the weights lie once, in checkpoints/, and travel in the wheel as gan_explain/checkpoints."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithWeights(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # an editable installation reads the repository's own folder
            return
        inside = Path(self.build_lib) / "gan_explain" / "checkpoints"
        shutil.rmtree(inside, ignore_errors=True)
        shutil.copytree(ROOT / "checkpoints", inside, ignore=shutil.ignore_patterns(".*"))


setup(cmdclass={"build_py": BuildWithWeights})
