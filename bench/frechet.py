"""Our Frechet distance beside `scipy.linalg.sqrtm`: the same number, at what cost?

    python -m bench.frechet                                   # smoke scale: 512 features
    python -m bench.frechet --scale std --json frechet.json   # 2048 features, as Inception has

Cases: `covariances` (more samples than features: both sides begin with means and covariances) and `samples` (fewer: ours begins with the samples,
scipy with the covariances of the same). The peer's formula is the one of pytorch-fid: |m1 - m2|² + Tr(C1 + C2 - 2 sqrtm(C1 C2)), with 1e-6 added
to the diagonals where the product has no finite root. A first run checks that both agree within 1e-4 of the distance, then the sides take turns
in one process with one thread; the features are made before. Ratios are of CPU time, ours over theirs, round by round.
Exits 1 when numbers disagree. Aim: at most 0.2.
"""

import hashlib
import os
import statistics
import sys
import time

from bench.measuring import ONE_THREAD, parser, spread, write_report

# Before numpy is loaded, which reads them: both sides get one thread.
os.environ |= ONE_THREAD

import numpy

SCALES = {"smoke": {"features": 512, "rounds": 3}, "std": {"features": 2048, "rounds": 5}}
# Samples on each side, over the number of features.
CASES = {"covariances": 2.5, "samples": 0.5}
TOLERANCE = 1e-4
AIM = 0.2


def make_features(features: int, samples: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Two sets of non-negative features whose variances fall over three decades, as those of Inception do."""
    # Real features are correlated and unevenly strong; independent ones would make the matrix root easy.
    random = numpy.random.default_rng(seed)
    mixing = random.normal(size=(features, features)) / features**0.5 * numpy.geomspace(1, 0.03, features)[:, None]
    fakes, reals = (numpy.abs(random.normal(size=(samples, features)) @ mixing + shift) for shift in (0.02, 0.0))
    return fakes.astype(numpy.float32), reals.astype(numpy.float32)


def ours(fakes: numpy.ndarray, reals: numpy.ndarray):
    from training.metrics.frechet import frechet_distance_of, gaussian_statistics

    one, other = gaussian_statistics(fakes), gaussian_statistics(reals)
    return lambda: frechet_distance_of(one, other)


def peer(fakes: numpy.ndarray, reals: numpy.ndarray):
    from scipy import linalg

    # What is timed begins where pytorch-fid begins: its means and covariances are made before.
    means = [side.astype(numpy.float64).mean(axis=0) for side in (fakes, reals)]
    one, other = (numpy.cov(side.astype(numpy.float64), rowvar=False) for side in (fakes, reals))

    def distance() -> float:
        root = linalg.sqrtm(one @ other)
        if not numpy.isfinite(root).all():
            offset = 1e-6 * numpy.eye(len(one))
            root = linalg.sqrtm((one + offset) @ (other + offset))
        difference = means[0] - means[1]
        return float(difference @ difference + numpy.trace(one) + numpy.trace(other) - 2 * numpy.trace(root.real))

    return distance


def compare(scale: str, seed: int) -> dict:
    import scipy

    features, report = SCALES[scale]["features"], {"scale": scale, "numpy": numpy.__version__, "scipy": scipy.__version__, "cases": {}}
    for case, ratio in CASES.items():
        sets = make_features(features, int(features * ratio), seed)
        report["cases"][case] = compare_case({"ours": ours(*sets), "scipy": peer(*sets)}, rounds=SCALES[scale]["rounds"])
        report["cases"][case]["inputs_sha256"] = hashlib.sha256(sets[0].tobytes() + sets[1].tobytes()).hexdigest()
    return report


def compare_case(sides: dict, *, rounds: int) -> dict:
    values = {side: distance() for side, distance in sides.items()}
    result = {"values": values, "relative_difference": abs(values["ours"] - values["scipy"]) / values["scipy"], "sides": {}}
    if result["relative_difference"] > TOLERANCE:
        return result
    # Sides take turns, so that a machine which slows down slows both.
    times = {side: [] for side in sides}
    for _ in range(rounds):
        for side, distance in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            distance()
            times[side].append({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu})
    ratios = [our["cpu_s"] / their["cpu_s"] for our, their in zip(times["ours"], times["scipy"], strict=True)]
    for side, runs in times.items():
        result["sides"][side] = {name: statistics.median(run[name] for run in runs) for name in ("cpu_s", "wall_s")}
    result["ours_over_scipy"] = spread(ratios)
    return result


def print_table(report: dict) -> None:
    for case, result in report["cases"].items():
        values = ", ".join(f"{side} {value:.10g}" for side, value in result["values"].items())
        print(f"\n{case}: {values} (relative difference {result['relative_difference']:.1e})")
        if not result["sides"]:
            print("  the numbers differ: no times")
            continue
        for side, row in result["sides"].items():
            print(f"  {side:<8}{row['cpu_s']:>10.3f} s CPU{row['wall_s']:>10.3f} s wall")
        ratio = result["ours_over_scipy"]
        print(f"  ours / scipy {ratio['median']:.3f} ({ratio['lowest']:.3f}…{ratio['highest']:.3f}), aim {AIM}")


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--seed", type=int, default=0)
    arguments = flags.parse_args()
    report = compare(arguments.scale, arguments.seed)
    print_table(report)
    write_report(arguments.json, report)
    return 0 if all(result["sides"] for result in report["cases"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
