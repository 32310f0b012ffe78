"""CPU of one tick (score + fuse + judge + commit) at 1k, 10k and 100k series, beside a loop of scikit-learn forests.

The loop is what a first version would do: one isolation forest per component, asked in turn for one row a tick. It is
measured on a hundred series (ten components of ten metrics) and extrapolated, because each call costs the same.

    ./dev bench tick
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

SIZES = (1_000, 10_000, 100_000)
TARGET_MS, TARGET_MIB = 250, 1024
FORESTS, METRICS, ROWS = 10, 10, 4_032


def tick(series: int) -> dict[str, Any]:
    """`tocsin bench` in a process of its own, so that its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tocsin", "bench", "--series", str(series), "--json"], capture_output=True, check=True, text=True
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def forests() -> tuple[float, float]:
    """CPU seconds to fit, and to score one row, of one scikit-learn forest per component."""
    from sklearn.ensemble import IsolationForest

    rng = np.random.default_rng(0)
    fitting = time.process_time()
    fitted = [IsolationForest(n_estimators=100, random_state=0).fit(rng.normal(size=(ROWS, METRICS))) for _ in range(FORESTS)]
    fitting = time.process_time() - fitting
    row = rng.normal(size=(1, METRICS))
    scoring = time.process_time()
    for forest in fitted:
        forest.score_samples(row)
    return fitting / FORESTS, (time.process_time() - scoring) / FORESTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().sizes
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    fit, score = forests()
    print(
        f"{'series':>9} {'tick ms':>9} {'worst ms':>9} {'peak MiB':>9} {'kB/series':>9} "
        f"{'learning ms/series':>19} {'forests ms':>12} {'ratio':>8}"
    )
    for size in sizes:
        figures = tick(size)
        ours, loop = figures["tick_cpu_seconds"] * 1e3, score * size / METRICS * 1e3
        print(
            f"{size:>9,} {ours:>9.1f} {figures['tick_cpu_seconds_worst'] * 1e3:>9.1f} {figures['peak_memory_mib']:>9.0f} "
            f"{figures['memory_bytes_per_series'] / 1e3:>9.1f} "
            f"{figures['learning_cpu_seconds_per_series'] * 1e3:>19.2f} {loop:>12,.0f} {loop / ours:>7,.0f}x"
        )
    print(
        f"of {sizes[-1]:,} series: "
        + ", ".join(f"{part} {cpu * 1e3:.1f} ms" for part, cpu in figures["parts_cpu_seconds"].items())
    )
    print(f"target at 100,000 series: {TARGET_MS} ms and {TARGET_MIB} MiB; CPU of the ticking thread, median of nine ticks")
    print(f"forests: {FORESTS} fitted ({fit * 1e3:.0f} ms CPU each), one row each {score * 1e3:.2f} ms CPU, extrapolated")


if __name__ == "__main__":
    main()
