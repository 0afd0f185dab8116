"""Everything that checks this project: `nox -l` lists it, `nox` is what to run after every change.

Sessions that need nothing but the extras `test` and `docs` run in the Python that runs nox. Those
that need packages which the project doesn't (other plugins, other libraries' models and attacks)
have environments that see this Python's packages, torch and this project among them, so that only
what differs is installed. Those about versions have environments of their own.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["quick", "lint", "types"]

HERE = sys.executable
PYTHONS = ("3.11", "3.12", "3.13")
# What one wants to know after every change. Everything else trains in processes, or takes its time.
QUICK = (
    "tests/test_house.py",
    "tests/test_project.py",
    "tests/test_benchmarks.py",
    "tests/test_workflow.py",
    "tests/design",
    "tests/statistics",
    "tests/data",
    "tests/interventions",
    "tests/store",
    "tests/report",
    "tests/plugin/test_options.py",
    "tests/plugin/test_outcomes.py",
    "tests/plugin/test_gates.py",
    # these simulate, kill or train for most of a minute
    "--ignore=tests/statistics/test_calibration.py",
    "--ignore=tests/store/test_faults.py",
    "--ignore=tests/store/test_results.py",
)
COMPANIONS = (
    "pytest-xdist",
    "pytest-cov",
    "pytest-html",
    "pytest-randomly",
    "pytest-rerunfailures",
    "pytest-timeout",
    "pytest-benchmark",
    "syrupy",
    "hypothesis",
    "anyio",
    "pytest-asyncio",
)
# torchattacks pins a requests of 2020: none of them may bring its dependencies
ATTACKS = (
    *("torchattacks==3.5.1", "foolbox==3.3.4", "eagerpy==0.30.0"),
    *(
        "adversarial-robustness-toolbox==1.20.1",
        "GitPython",
        "gitdb",
        "smmap",
        "requests",
        "urllib3",
    ),
    *("idna", "certifi", "charset-normalizer", "six", "tqdm", "setuptools<81"),
)
KEPT = ("xgboost", "lightgbm", "catboost", "skorch", "lightning", "transformers")
RECIPES = (
    "mlflow",
    "wandb",
    "pyyaml",
    "transformers",
    "accelerate",
    "lightning",
    "xgboost",
    "optuna",
)
LIBRARIES = ("lightning", "timm", "transformers", "onnx", "onnxruntime")
FAULTS = sorted(
    path.stem
    for path in Path(__file__).parent.joinpath("tests", "faults").glob("*.py")
    if not path.name.startswith("test_") and '__name__ == "__main__"' in path.read_text("utf-8")
)


def lower_bounds() -> list[str]:
    """Return the project's dependencies, each at the lowest version that it allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["specs"], *extras["html"]]
    return [requirement.replace(">=", "==") for requirement in wanted]


def others(known: tuple[str, ...]) -> list[str]:
    """Return what the project and its tests need, but for what is known already."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["specs"], *extras["html"], "anyio", "pytest-xdist"]
    return [each for each in wanted if each.partition(">=")[0] not in known]


def beside(session: nox.Session, *packages: str) -> None:
    """Install packages into an environment that sees those of the Python that runs nox."""
    own = session.run(
        "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True
    )
    parent = sysconfig.get_path("purelib")
    Path(str(own).strip(), "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    session.install(*packages)


@nox.session(python=False)
def quick(session: nox.Session) -> None:
    """Run the quick part of the tests: the pure rooms, the house, and a few runs end to end."""
    session.run(HERE, "-m", "pytest", "-q", "-n", "2", *QUICK, *session.posargs)


@nox.session(venv_backend="none")
def thorough(session: nox.Session) -> None:
    """Go further ways to distribute tests, to screen, to be killed and to keep."""
    session.run(HERE, "-m", "pytest", "-m", "thorough", "-n", "2", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests, with the newest versions of everything."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run all tests with the lowest versions of the dependencies that pyproject.toml allows."""
    session.install("-e", ".[test]", *lower_bounds())
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Check style and layout, and that the changelog's fragments can be read."""
    session.run(HERE, "-m", "ruff", "check", ".")
    session.run(HERE, "-m", "ruff", "format", "--check", ".")
    session.run(HERE, "-m", "towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check the types of the package and of its tests."""
    session.run(HERE, "-m", "mypy", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the site into site/, strictly: a warning is an error."""
    session.run(HERE, "-m", "mkdocs", "build", "--strict", *session.posargs)


@nox.session
@nox.parametrize("pytest", ["newest", "8.4.2"])
def companions(session: nox.Session, pytest: str) -> None:
    """Run beside the plugins that people have installed, with the newest pytest and the oldest."""
    beside(session, "pytest" if pytest == "newest" else f"pytest=={pytest}", *COMPANIONS)
    loop = "asyncio_default_fixture_loop_scope=function"
    session.run(
        *("python", "-m", "pytest", "tests/companions/test_companions.py", "-q", "-rs", "-o", loop),
        *("-p", "no:benchmark", *session.posargs),
    )


@nox.session
def ray(session: nox.Session) -> None:
    """Train and evaluate on a Ray cluster of this machine."""
    beside(session, "ray>=2.50", "pytest-xdist")
    suites = ("tests/companions/test_ray.py", "tests/training/test_ray.py")
    session.run("python", "-m", "pytest", *suites, "-q", "-rs", *session.posargs)


@nox.session
def attacks(session: nox.Session) -> None:
    """Compare PGD with torchattacks and foolbox, and run their attacks and ART's through Attack."""
    beside(session, "--no-deps", *ATTACKS)
    session.run(
        "python", "-m", "pytest", "tests/companions/test_attacks.py", "-q", "-rs", *session.posargs
    )


@nox.session
def fairlearn(session: nox.Session) -> None:
    """Compare gaps and ratios with fairlearn's, on the same predictions."""
    beside(session, "fairlearn")
    suite = "tests/companions/test_fairlearn.py"
    session.run("python", "-m", "pytest", suite, "-q", "-rs", *session.posargs)


@nox.session
def ways_in(session: nox.Session) -> None:
    """Run the examples of docs/ways_in.md with the libraries that they are about."""
    beside(session, *LIBRARIES)
    session.run("python", "-m", "pytest", "tests/docs", "-q", "-rs", *session.posargs)


@nox.session
def libraries(session: nox.Session) -> None:
    """Keep models of ten libraries, and read them back; build on heads of transformers."""
    beside(session, *KEPT)
    session.run(
        "python",
        "-m",
        "pytest",
        "tests/libraries",
        "-m",
        "thorough or not thorough",
        "-q",
        "-rs",
        *session.posargs,
    )


@nox.session
def card(session: nox.Session) -> None:
    """Read a card with Hugging Face's own parser."""
    beside(session, "huggingface_hub")
    checks = "tests/companions/check_card.py"  # its name keeps it out of plain runs
    session.run("python", "-m", "pytest", checks, "-q", "-rs", *session.posargs)


@nox.session(python="3.11")
def device(session: nox.Session) -> None:
    """Train and evaluate on simulated GPUs, built here for a torch without CUDA.

    pip has to find that torch: PIP_FIND_LINKS, or
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
    """
    session.install("torch==2.13.0+cpu", *others(("torch", "torchvision")))
    session.install("--no-deps", "torchvision==0.28.0", "-e", ".")
    session.run("python", "tests/device/build.py")
    checks = sorted(map(str, Path("tests/device").glob("check_*.py")))  # kept out of plain runs
    session.run(
        *("python", "-m", "pytest", *(session.posargs or checks), "-q"),
        env={"PYTHONPATH": "tests/device", "CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "1"},
    )


@nox.session
def recipes(session: nox.Session) -> None:
    """Run the recipes of docs/recipes.md with the libraries that they are about."""
    beside(session, *RECIPES)
    checks = "tests/recipes/check_recipes.py"  # its name keeps it out of plain runs
    session.run("python", "-m", "pytest", checks, "-q", "-rs", *session.posargs)


@nox.session(python=False)
@nox.parametrize("script", FAULTS)
def faults(session: nox.Session, script: str) -> None:
    """Kill, corrupt, starve and repeat: one script of tests/faults."""
    session.run(HERE, f"tests/faults/{script}.py", *session.posargs)


@nox.session(python=False)
def pytest_suite(session: nox.Session) -> None:
    """Run pytest's own tests without the plugin and with it: every outcome must be the same."""
    session.run("bash", "tests/faults/pytest_suite.sh", *session.posargs)
