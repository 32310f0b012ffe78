"""The house rules that a machine can hold: what is installed, what it needs, who knows whom, and that what is written is true."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import tocsin

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("tocsin", "collectors", "detectors", "alerting")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def normal(requirement: str) -> str:
    """`Ruamel.YAML>=0.18` → `ruamel-yaml`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


RUNTIME = {normal(line) for line in PROJECT["project"]["dependencies"]}
EXTRAS = {normal(line) for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra}
DEVELOPMENT = {normal(line) for line in PROJECT["dependency-groups"]["dev"]}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def tracked() -> list[Path]:
    listing = run("git", "ls-files", "-z")
    if listing.returncode:
        pytest.skip("no git checkout here to list the files of")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


# --- what is installed -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_installs_these_top_level_packages_and_no_other(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*PACKAGES, f"tocsin-{tocsin.__version__}.dist-info"}


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    wanted = {path.relative_to(ROOT).as_posix() for path in sources(*PACKAGES)}
    wanted |= {f"tocsin/_config/{path.relative_to(ROOT / 'config').as_posix()}" for path in sources("config")}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == wanted


def test_what_is_not_python_comes_along(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "tocsin/_config/tocsin.yaml" in names
    assert any(re.fullmatch(r"tocsin/_config/components/.+\.yaml", name) for name in names)
    assert any(re.fullmatch(r"tocsin/store/migrations/versions/\d+.*\.py", name) for name in names)
    assert any(name.startswith("tocsin/") and name.endswith((".html", ".j2")) for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_every_entry_point_leads_to_a_module_that_is_installed(wheel: zipfile.ZipFile) -> None:
    points = [value for group in PROJECT["project"]["entry-points"].values() for value in group.values()]
    for point in [*points, *PROJECT["project"]["scripts"].values()]:
        module = point.partition(":")[0].replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & set(wheel.namelist()), point


def test_one_version_is_told_everywhere() -> None:
    assert PROJECT["project"]["version"] == tocsin.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog or f"## {tocsin.__version__}" in changelog


# --- what it depends on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_pins_every_version_by_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    packages = re.split(r"(?m)^(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text))[1:]
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9._-]+==\S+", package), package
        assert "--hash=sha256:" in package, package


def test_every_dependency_is_locked() -> None:
    def names(lock: str) -> set[str]:
        return {normal(line) for line in re.findall(r"(?m)^[a-z0-9][^\s]*==", (ROOT / lock).read_text())}

    assert names("requirements.lock") >= RUNTIME
    assert names("requirements-dev.lock") >= RUNTIME | EXTRAS | DEVELOPMENT | names("requirements.lock")


def test_every_dependency_is_documented_and_nothing_else_is() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    assert set(re.findall(r"(?m)^\| ([a-z0-9.-]+) \|", page)) - {"package"} == {
        re.split(r"[<>=]", line)[0] for line in PROJECT["project"]["dependencies"]
    }
    development = page.partition("## For development")[2]
    assert [name for name in sorted(DEVELOPMENT - EXTRAS) if name not in development] == []
    assert [name for name in sorted(EXTRAS) if name not in page] == []


def imports(path: Path) -> set[str]:
    """Top names of everything the file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    used = set().union(*(imports(path) for path in sources(*PACKAGES) if path.suffix == ".py"))
    foreign = used - set(sys.stdlib_module_names) - set(PACKAGES)
    providers = packages_distributions()
    needed = {normal(providers[name][0]) if name in providers else name for name in foreign}
    # These belong to pydantic, jinja2 and elasticsearch; zoneinfo finds tzdata, and a database URL names pg8000.
    belong = {"pydantic-core", "markupsafe", "elastic-transport", "urllib3"}
    assert needed - belong - EXTRAS == RUNTIME - {"tzdata", "pg8000"}


@pytest.mark.parametrize(
    "module", ["tocsin.daemon", "tocsin.cli", "tocsin.app", "tocsin.score", "tocsin.store.history", "collectors.files"]
)
def test_the_main_process_never_imports_pandas_or_scikit_learn(module: str) -> None:
    code = (
        f"import {module}, sys; from importlib.metadata import entry_points as e;"
        "[p.load() for g in ('collectors', 'detectors', 'sinks', 'supervisions') for p in e(group=f'tocsin.{g}')];"
        "print([n for n in ('pandas', 'sklearn', 'pyod', 'scipy', 'matplotlib', 'joblib') if n in sys.modules])"
    )
    told = run(sys.executable, "-W", "error", "-c", code)
    assert (told.stdout.strip(), told.returncode) == ("[]", 0), told.stderr


# --- who knows whom ----------------------------------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_layers() -> None:
    """The arrows themselves are held by `./dev check`; this holds that nothing is left out of them."""
    layers = next(contract for contract in PROJECT["tool"]["importlinter"]["contracts"] if contract["type"] == "layers")
    placed = {name.strip() for layer in layers["layers"] for name in re.split(r"[|:]", layer)}
    there = {
        f"tocsin.{path.stem if path.is_file() else path.name}"
        for path in (ROOT / "tocsin").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    }
    assert placed == there | {"collectors", "detectors", "alerting"}


def test_the_configuration_folder_is_not_importable() -> None:
    assert [path for path in sources("config") if path.suffix == ".py"] == []


# --- what is written is true -------------------------------------------------------------------------------------------


def commands() -> set[str]:
    """The subcommands that `dev` acts on."""
    acts = (ROOT / "dev").read_text().partition("case $command in")[2]
    return set(re.findall(r"(?m)^    ([a-z]+)(?:\)| \|)", acts))


def test_the_script_says_a_line_about_each_of_its_commands() -> None:
    told = run("./dev", "help")
    assert told.returncode == 0
    assert (
        set(re.findall(r"(?m)^  ([a-z]+)  ", told.stdout))
        == commands()
        == {"setup", "demo", "test", "check", "bench", "lock", "help"}
    )


def test_the_script_answers_a_mistake_with_one_sentence() -> None:
    wrong, without_python = run("./dev", "tset"), run("./dev", "setup", PYTHON="no-such-python")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "no command 'tset'" in wrong.stderr
    assert (without_python.returncode, without_python.stderr.count("\n")) == (2, 1)
    assert "needs Python 3.11" in without_python.stderr


@pytest.mark.parametrize("script", ["dev", ".ci/run"])
def test_a_script_is_plain_posix_shell(script: str) -> None:
    path = ROOT / script
    assert path.read_text().startswith("#!/bin/sh\n")
    assert os.access(path, os.X_OK)
    for shell in ("sh", "dash", "bash"):
        if shutil.which(shell):
            assert run(shell, "-n", path).returncode == 0


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "deploy/README.md",
    *ROOT.glob("docs/**/*.md"),
]


def tocsin_commands() -> set[str]:
    from typer.main import get_command

    from tocsin.cli import app

    return set(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_a_page_names_exist(page: Path) -> None:
    code = "\n".join(a or b for a, b in re.findall(r"`([^`\n]+)`|(?m:^(?:    |\$ )(.*)$)", page.read_text()))
    assert set(re.findall(r"(?:^|\s)\./dev ([a-z][a-z-]*)", code)) <= commands()
    assert set(re.findall(r"(?m)^(?:\$ )?(?:\S*/bin/)?tocsin ([a-z][a-z-]*)", code)) <= tocsin_commands()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_files_a_page_names_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [name for name in links if not (page.parent / name).exists()] == []
    named = re.findall(
        r"`((?:docs|deploy|tests|benchmarks|tocsin|collectors|detectors|alerting|config)/[\w./-]*\w)`", page.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()] == []


def test_decisions_are_numbered_and_titled() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {page.name[:4]}. "), page


def test_no_file_names_a_registry_or_a_machines_folders() -> None:
    hosts = "pypi[.]org|pythonhosted[.]org|registry[.]npmjs|repo1?[.]maven|deb[.]debian|crates[.]io"
    leak = re.compile(rf"(?:^|[^A-Za-z0-9_.])/(?:work|farm)/|/root/|/tmp/(?:research|exp|data|spec)/|{hosts}")
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "ignore")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in leak.finditer(text)]
    assert [line for line in found if not line.startswith("tests/test_house.py")] == []


# --- a real installation ----------------------------------------------------------------------------------------------


def test_the_service_manager_accepts_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    unit = tmp_path / "tocsin.service"
    unit.write_text((ROOT / "deploy/tocsin.service").read_text().replace("/opt/tocsin/bin/tocsin", "/bin/true"))
    verified = run("systemd-analyze", "verify", unit)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_image_copies_what_exists_and_is_allowed_to_see() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = re.findall(r"(?m)^COPY (?!--)(.*)$", (ROOT / "Dockerfile").read_text())
    copied = {name for line in lines for name in line.split()[:-1]}
    assert copied >= {*PACKAGES, "config", "pyproject.toml", "requirements.lock"}
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(Path(name).match(pattern) for pattern in allowed), name


def test_the_compose_file_holds_together() -> None:
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    services, example = compose["services"], (ROOT / "deploy/compose.env.example").read_text()
    assert set(services) == {"tocsin", "postgres", "elasticsearch"}
    for service in services.values():
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
        assert set(service.get("depends_on", ())) <= set(services)
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            place = re.sub(r"\$\{.*?\}", "/given", volume).split(":")[0]
            assert place in compose["volumes"] or place == "/given" or (ROOT / place).exists(), volume
    assert (ROOT / services["tocsin"]["build"] / "Dockerfile").is_file()
    variables = {secret["environment"] for secret in compose["secrets"].values()}
    variables |= set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert variables == set(re.findall(r"(?m)^(\w+)=", example))


# --- what can be asked is written down ----------------------------------------------------------------------------------


def test_every_metric_is_documented() -> None:
    from tocsin.telemetry import Metrics

    page = (ROOT / "docs" / "operations.md").read_text()
    names = [f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in Metrics().registry.collect()]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_command_is_in_the_readme_or_its_pages() -> None:
    from typer.main import get_command

    from tocsin.cli import app

    pages = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
    names = list(get_command(app).commands)  # type: ignore[attr-defined]
    assert len(names) > 12
    assert [name for name in names if f"tocsin {name}" not in pages] == []
