"""Fixtures that every test file may use."""
import pytest

from vad_nb.core import data_folder as find_data_folder


@pytest.fixture(scope="session")
def data_folder():
    "The folder of real data sets; the test is skipped, with a line that says so, where there is none."
    folder = find_data_folder()
    if folder is None:
        pytest.skip("real data: set VAD_NB_DATA to the folder that holds them")
    return folder


def pytest_collection_modifyitems(items):
    "Whoever asks for the folder of real data is marked `data`."
    for item in items:
        if "data_folder" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
