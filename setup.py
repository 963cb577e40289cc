"""pyproject.toml declares everything; this copies the presets, settings.ini, into the wheel."""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSettings(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            presets = Path(__file__).parent / "settings.ini"
            shutil.copy(presets, Path(self.build_lib) / "vad_nb" / presets.name)


setup(cmdclass={"build_py": BuildWithSettings})
