"""One million frames, every frame-level metric, one thousand bootstrap draws: run by hand, `python tests/benchmark_evaluate.py`."""
import sys
import time
from types import SimpleNamespace

import numpy as np

from vad_nb.evaluation.reports import evaluate
from vad_nb.evaluation.scores import Scores


def main(frames=1_000_000, videos=400, draws=1000):
    generator = np.random.default_rng(0)
    scores, labels, clips = {}, {}, {}
    for number in range(videos):
        length = frames // videos
        label = np.zeros(length, np.uint8)
        if number % 4:
            start = generator.integers(0, length // 2)
            label[start:start + length // 3] = 1
        name = f"{number % 13:02d}_{number:04d}"
        scores[name], labels[name] = generator.standard_normal(length) + label, label
        clips[name] = SimpleNamespace(frames=generator.integers(0, 255, (length, 2, 2, 1), dtype=np.uint8), fps=25.)
    start = time.perf_counter()
    report = evaluate(Scores(scores, {"method": "benchmark", "random_seed": 0, "real": False}), labels, label_source="made up", clips=clips, threshold=1., draws=draws)
    seconds = time.perf_counter() - start
    print(report)
    print(f"{frames} frames, {videos} videos, {draws} draws, {len(report.numbers)} metrics: {seconds:.1f} s, {time.process_time():.1f} s of processor time in all")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
