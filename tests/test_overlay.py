"""The overlay video: what it shows, one scale for all frames, both containers, and a browser that plays it."""
import cv2
import numpy as np
import pytest

from vad_nb.core import SettingsError
from vad_nb.apps.overlay import MARGIN, TITLE, WIDTH, overlay_clip, overlay_frames, write_video

SCORES = np.array([0.1, 0.2, 0.8, 0.2, 0.1, 0.1])


def parts(length=6, height=48, width=64, channels=3):
    for t in range(length):
        frame = np.full((height, width, channels), 40*t, np.uint8)
        yield frame, np.full((24, 32, 3), 0.5, np.float32), np.full((24, 32), 0.1*t)


def pages(**options):
    return list(overlay_frames(parts(), SCORES, **options))


def test_pictures_stand_where_they_should():
    made = pages(largest=1.0)
    size = round(0.75*WIDTH)
    for t, page in enumerate(made):
        assert page.dtype == np.uint8 and page.shape == made[0].shape and page.shape[0] % 2 == 0 and page.shape[1] % 2 == 0
        middle = page[TITLE + size//2]
        assert (middle[MARGIN + WIDTH//2] == 40*t).all() and (abs(middle[2*MARGIN + WIDTH + WIDTH//2].astype(int) - 128) <= 1).all()


def test_error_maps_share_one_scale():
    def heat(page):
        return page[TITLE + 50, 3*MARGIN + 2*WIDTH + 50].astype(int)
    one, brighter = pages(largest=1.0), pages(largest=2.0)
    assert (heat(one[2]) == heat(brighter[4])).all()         # error 0.2 of 1 is the colour of 0.4 of 2
    assert heat(one[5]).sum() > heat(one[1]).sum()


def test_frames_above_the_threshold_are_framed():
    plain, framed = pages(largest=1.0), pages(largest=1.0, threshold=0.5)
    edge = (TITLE - 3, MARGIN + 100)
    assert [bool((page[edge] != plain[0][edge]).any()) for page in framed] == [False, False, True, False, False, False]


def test_grey_frames_and_a_late_start():
    made = list(overlay_frames(parts(4, channels=1), SCORES, first=1))
    assert len(made) == 4 and made[0].shape == pages()[0].shape


@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_a_written_video_has_all_its_frames(tmp_path, ending):
    if ending == "mp4":
        pytest.importorskip("av", reason="an .mp4 needs PyAV (pip install av)")
    path = write_video(tmp_path/f"a.{ending}", iter(pages(largest=1.0)), 10)
    video, read = cv2.VideoCapture(str(path)), []
    while (one := video.read())[0]:
        read.append(one[1])
    assert len(read) == 6 and video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert abs(int(read[3][TITLE + 60, MARGIN + 60, 0]) - 120) < 8
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{ending}"]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(SettingsError, match="webm"):
        write_video(tmp_path/"a.gif", iter(pages()), 10)
    with pytest.raises(SettingsError, match="at least one frame"):
        write_video(tmp_path/"a.webm", iter([]), 10)
    with pytest.raises(SettingsError, match="reconstructs"):
        overlay_clip(object(), None, tmp_path/"a.webm", SCORES)
    assert list(tmp_path.iterdir()) == []
