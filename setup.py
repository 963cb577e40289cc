"""Everything is declared in pyproject.toml; this copies settings.ini, which holds the presets, into the wheel."""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSettings(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copy(Path(__file__).parent / "settings.ini", Path(self.build_lib) / "vad_nb" / "settings.ini")


setup(cmdclass={"build_py": BuildWithSettings})
