"""Semi-NMF against other solvers, on four cases: `make bench` prints one table and writes build/bench.json.

    picturebook   states of the 1,200 "dog" pages at the gallery's layer, 16 concepts
    planted       3,000 x 4,096, made of 20 concepts and noise
    massive       1,100 x 4,096, made like planted, but three dimensions are 1,500 to 3,000 with a spread of 2%, as the
                  "massive activations" of real models; 500 iterations at most
    digits        scikit-learn's bundled digits, 20 concepts, 300 iterations at most

Where no limit is named it is 5,000, the released code's; a run that a lower one stops is unfinished, and the page of
results says so.

All minimise ||Z - V U||_F^2 + 2 * sum(V), V >= 0, rows of U in the unit ball: lambda 2 is scikit-learn's alpha 1, as the
released code of the paper leaves it. Each system runs alone in a process of its own, with the same number of threads.
The objective of each is computed here, from its U and V; overcomplete's concepts know no unit ball, so that longer ones
are shortened and their activations lengthened, which leaves V U as it was.

Last, ours out of core: 100,000 x 512, planted, as a memory-mapped file, beside the same states in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import matplotlib.cm
import numpy as np
import pandas as pd
import torch
from measuring import RESULTS, keep, peak_mb

LAM = 2.0
# concepts, and most iterations
CASES = {"picturebook": (16, 5000), "planted": (20, 5000), "massive": (20, 500), "digits": (20, 300)}
SYSTEMS = ("ours", "sklearn", "overcomplete", "overcomplete_mu")


def states(case: str) -> np.ndarray:
    """The case's Z: (samples, width), float32."""
    if case == "planted":
        return planted()
    if case == "massive":
        return massive()
    if case == "digits":
        from sklearn.datasets import load_digits

        return load_digits().data.astype(np.float32)
    from coxlmm_utils import extract, load_images, load_lmm
    from coxlmm_utils.ground_truth import GALLERY_LAYER, PAGES_PER_SUBJECT

    images = load_images("picturebook").mentioning("dog")[:PAGES_PER_SUBJECT]
    return extract(load_lmm(), images, "dog", GALLERY_LAYER).Z.numpy()


def planted(samples: int = 3000, width: int = 4096, concepts: int = 20, noise: float = 0.05) -> np.ndarray:
    """States made of sparse amounts of random unit concepts, and noise."""
    rng = np.random.default_rng(0)
    U = rng.standard_normal((concepts, width))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    V = rng.gamma(4.0, 1.0, (samples, concepts)) * (rng.random((samples, concepts)) < 0.3)
    return (V @ U + noise * rng.standard_normal((samples, width))).astype(np.float32)


def massive(samples: int = 1100, width: int = 4096, concepts: int = 20) -> np.ndarray:
    """Planted states with three dimensions that are large and nearly constant, and so a mean that holds 99.9%."""
    rng = np.random.default_rng(1)
    Z, dominant = planted(samples, width, concepts), rng.choice(width, 3, replace=False)
    Z[:, dominant] += np.array([1500, 2200, 3000]) * (1 + 0.02 * rng.standard_normal((samples, 3)))
    return Z


def objective(Z: np.ndarray, U: np.ndarray, V: np.ndarray) -> float:
    """In float64, of concepts brought into the unit ball without a change of V U."""
    lengths = np.maximum(np.linalg.norm(U.astype(float), axis=1), 1)
    U, V = U / lengths[:, None], V * lengths
    return float(((Z - V @ U) ** 2).sum() + LAM * V.sum())


def fit_ours(Z: np.ndarray, n_concepts: int, max_iter: int) -> dict:
    """Our default; `curve` is when which objective was reached: the lowest of all restarts, then the refinement's."""
    from coxlmm_utils import SemiNMF
    from coxlmm_utils.dictionaries import BlockCoordinateDescent

    learner = SemiNMF(n_concepts, lam=LAM, max_iter=max_iter)
    SemiNMF(n_concepts, lam=LAM, max_iter=2).fit(Z[: len(Z) // 2])  # the libraries' first call is slow
    before, curve, step = peak_mb(reset=True), [], BlockCoordinateDescent.step

    def timed_step(self):
        converged = step(self)
        curve.append((time.perf_counter() - begin, min(self.objective)))
        return converged

    BlockCoordinateDescent.step = timed_step
    begin = time.perf_counter()
    fitted = learner.fit(Z)
    seconds, memory = time.perf_counter() - begin, peak_mb() - before
    BlockCoordinateDescent.step = step
    curve.append((seconds, fitted.objective_[-1]))
    result = {"U": fitted.components_, "V": fitted.activations_, "iterations": fitted.n_iter_, "seconds": seconds}
    result |= {"memory_mb": memory, "curve": curve, "restart_iterations": sum(fitted.n_running_)}
    result |= {"reported_objective": fitted.objective_[-1], "kkt_V": fitted.kkt_V_, "kkt_U": fitted.kkt_U_}
    result["mean_cosine"] = float(np.median(fitted.mean_cosine_))
    double = learner.clone().fit(Z.astype(float))
    return result | {"float64_objective": objective(Z.astype(float), double.components_, double.activations_)}


def fit_sklearn(Z: np.ndarray, n_concepts: int, max_iter: int) -> dict:
    """With the released code's settings, but for the most iterations, and a seed."""
    from sklearn.decomposition import DictionaryLearning

    learner = DictionaryLearning(
        n_concepts,
        positive_code=True,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        max_iter=max_iter,
        random_state=0,
    )
    before, begin = peak_mb(reset=True), time.perf_counter()
    V = learner.fit_transform(Z)
    seconds, memory = time.perf_counter() - begin, peak_mb() - before
    return {"U": learner.components_, "V": V, "iterations": learner.n_iter_, "seconds": seconds, "memory_mb": memory}


def fit_overcomplete(Z: np.ndarray, n_concepts: int, max_iter: int, solver: str = "pgd") -> dict:
    """Its projected gradient, whose penalty is a mean and so comes to lam * concepts / width, and its own settings."""
    matplotlib.cm.get_cmap = matplotlib.colormaps.get_cmap  # it asks for what matplotlib 3.9 took away
    from overcomplete.optimization import SemiNMF

    torch.manual_seed(0)
    learner = SemiNMF(n_concepts, solver=solver, l1_penalty=LAM * n_concepts / Z.shape[1])
    before, begin = peak_mb(reset=True), time.perf_counter()
    V, U = learner.fit(torch.from_numpy(Z))
    seconds, memory = time.perf_counter() - begin, peak_mb() - before
    return {"U": U.numpy(), "V": V.numpy(), "iterations": None, "seconds": seconds, "memory_mb": memory}


def fit_large(path: str, mmap_mode: str | None) -> dict:
    """Our default on a file of states that is mapped, or loaded; memory beyond what was in use with them opened."""
    from coxlmm_utils import SemiNMF

    SemiNMF(3, max_iter=2).fit(planted(samples=100, width=300))  # the libraries' first call is slow
    Z, begin = np.load(path, mmap_mode=mmap_mode), time.perf_counter()
    before = peak_mb(reset=True)
    fitted = SemiNMF(20, lam=LAM).fit(Z)
    result = {"seconds": time.perf_counter() - begin, "peak_mb": peak_mb() - before, "states_mb": Z.nbytes / 2**20}
    return result | {"objective": fitted.objective_[-1]}


def out_of_core(threads: int) -> dict:
    """The same fit of a mapped and of a loaded file, each in a process of its own."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/states.npy"
        np.save(path, planted(samples=100_000, width=512, noise=0.2))
        print("out of core ...", file=sys.stderr, flush=True)
        mapped, loaded = (in_own_process(["--large", path, mode], threads) for mode in ("r", ""))
    results = {
        f"{name}_{what}": result.get(name)
        for name in ("peak_mb", "seconds", "objective")
        for what, result in (("mapped", mapped), ("loaded", loaded))
    }
    return {"states_mb": mapped.get("states_mb")} | results


def measure(case: str, system: str) -> dict:
    """One system on one case, in this process."""
    Z, (n_concepts, max_iter) = states(case), CASES[case]
    fits = {
        "ours": fit_ours,
        "sklearn": fit_sklearn,
        "overcomplete": fit_overcomplete,
        "overcomplete_mu": partial(fit_overcomplete, solver="mu"),  # multiplicative updates: no penalty at all
    }
    result = fits[system](Z, n_concepts, max_iter)
    reached = objective(Z.astype(float), result.pop("U"), result.pop("V"))
    return result | {"objective": reached, "states_mb": Z.nbytes / 2**20, "max_iter": max_iter}


def in_own_process(arguments: list[str], threads: int) -> dict:
    """What this script measures in a process of its own, so that neither memory nor threads are another's."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | {name: str(threads) for name in names}
    done = subprocess.run([sys.executable, __file__, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def case_results(case: str, threads: int) -> dict:
    """All systems on one case; when ours reaches scikit-learn's objective, and what it reaches with float64 states."""
    results = {}
    for system in SYSTEMS:
        print(f"{case}: {system} ...", file=sys.stderr, flush=True)
        results[system] = in_own_process(["--only", case, system], threads)
    target = results["sklearn"]["objective"]
    reached = [seconds for seconds, value in results["ours"].pop("curve") if value <= target]
    results["ours"]["seconds_to_sklearn"] = reached[0] if reached else None
    return results | {"float64_objective": results["ours"].pop("float64_objective")}


def table(results: dict) -> pd.DataFrame:
    """One row for each case and system."""
    rows = []
    for case, systems in results.items():
        ours = systems["ours"]["seconds"]
        for system in [name for name in SYSTEMS if name in systems]:
            result = systems[system]
            row = {"case": case, "system": system, "seconds": result.get("seconds", np.nan)}
            row["ratio"] = row["seconds"] / ours
            row["objective"] = result.get("objective", np.nan)
            row["above ours"] = row["objective"] / systems["ours"]["objective"] - 1
            row["to sklearn's"] = result.get("seconds_to_sklearn")
            rows.append(row | {"peak MB": result.get("memory_mb"), "iterations": result.get("iterations")})
    return pd.DataFrame(rows).set_index(["case", "system"])


def main() -> None:
    """Measure all and write it down; or, with --only, one system on one case, as json."""
    parser = argparse.ArgumentParser(description="Semi-NMF against scikit-learn and overcomplete.")
    parser.add_argument("--only", nargs=2, metavar=("CASE", "SYSTEM"))
    parser.add_argument("--large", nargs=2, metavar=("PATH", "MODE"), help="out of core alone, as json")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.only or options.large:
        warnings.simplefilter("ignore")
        path, mode = options.large or (None, None)
        print(json.dumps(measure(*options.only) if options.only else fit_large(path, mode or None)))
        return
    results = {case: case_results(case, options.threads) for case in options.cases}
    keep("semi_nmf", results, options.out)
    large = out_of_core(options.threads)
    keep("out-of-core", large, options.out)
    print(table(results).to_string(float_format="{:.4g}".format, na_rep="-"))
    print("\n" + pd.Series(large).to_string())
    print(f"\n{options.threads} threads; seconds, and megabytes above what was in use before; written to {options.out}")


if __name__ == "__main__":
    main()
