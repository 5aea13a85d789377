from __future__ import annotations

import pickle
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.errors import SettingsError
from casa_env.settings import Settings, Source, load_settings
from casa_env.settings.table import Table, declarations, parse

NOWHERE = Path("/nonexistent/casa-env.toml")


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


@pytest.fixture
def user_file(clean_environment: Path) -> Path:
    path = clean_environment / ".config" / "casa-env" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_without_any_source_every_setting_has_its_default() -> None:
    settings = load_settings({}, site_file=NOWHERE)
    defaults = {name: option.default for name, option in declarations().items()}
    assert {name: getattr(settings, name) for name in defaults} == defaults
    sources = {name: settings.source(name) for name in defaults if name != "site"}
    assert set(sources.values()) == {Source.DEFAULT}
    assert settings.source("site") is Source.DETECTED


def test_the_default_and_the_parser_of_a_setting_agree_with_its_type() -> None:
    samples: dict[object, tuple[type, str]] = {
        str: (str, "x"),
        int: (int, "1"),
        float: (float, "1"),
        bool: (bool, "true"),
        Path | None: (Path, "/x"),
        tuple[str, ...]: (tuple, "a"),
    }
    types = get_type_hints(Table)
    for name, option in declarations().items():
        kind, sample = samples[types[name]]
        choices = option.metadata["choices"]
        assert type(parse(option, choices[0] if choices else sample)) is (
            type(Path()) if kind is Path else kind
        )
        if option.default is not None:
            assert type(option.default) is kind
            assert parse(option, option.default) == option.default


def test_no_two_settings_read_the_same_variable() -> None:
    variables = [v for o in declarations().values() for v in o.metadata["variables"]]
    assert len(variables) == len(set(variables))
    assert not any(variable.startswith("CASA_ENV_") for variable in variables)


def test_a_stronger_source_wins_and_is_named(site_file: Path, user_file: Path) -> None:
    environ: dict[str, str] = {}
    arguments: dict[str, str] = {}

    def outcome() -> tuple[str, Source, str]:
        settings = load_settings(environ, site_file=site_file, **arguments)
        return (
            settings.mlflow_uri,
            settings.source("mlflow_uri"),
            settings.origin("mlflow_uri"),
        )

    environ["HOME"] = str(user_file.parents[2])
    assert outcome() == ("", Source.DEFAULT, "default")
    site_file.write_text('# ours\nmlflow_uri = "http://site"\n')
    assert outcome() == ("http://site", Source.SITE_FILE, f"{site_file}, line 2")
    user_file.write_text('mlflow_uri = "http://user"\n')
    assert outcome() == ("http://user", Source.USER_FILE, f"{user_file}, line 1")
    environ["MLFLOW_TRACKING_URI"] = "http://other"
    assert outcome() == ("http://other", Source.ECOSYSTEM, "MLFLOW_TRACKING_URI")
    environ["CASA_ENV_MLFLOW_URI"] = "http://ours"
    assert outcome() == ("http://ours", Source.ENVIRONMENT, "CASA_ENV_MLFLOW_URI")
    arguments["mlflow_uri"] = "http://argument"
    assert outcome() == ("http://argument", Source.ARGUMENT, "argument")


def test_the_sources_are_ordered_as_they_win() -> None:
    assert sorted(Source) == [
        Source.DEFAULT,
        Source.DETECTED,
        Source.SITE_FILE,
        Source.USER_FILE,
        Source.ECOSYSTEM,
        Source.ENVIRONMENT,
        Source.ARGUMENT,
    ]


@given(
    st.dictionaries(
        st.sampled_from(
            ["MLFLOW_TRACKING_URI", "CASA_ENV_MLFLOW_URI", "AWS_ENDPOINT_URL", "X"]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    )
)
def test_loading_is_repeatable_and_leaves_the_mapping_as_it_is(
    environ: dict[str, str],
) -> None:
    before = dict(environ)
    once = load_settings(environ, site_file=NOWHERE)
    assert environ == before
    assert load_settings(environ, site_file=NOWHERE) == once


def test_the_first_of_two_ecosystem_variables_wins() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}
    assert load_settings(environ, site_file=NOWHERE).s3_endpoint == "http://s3"


def test_an_empty_variable_of_the_ecosystem_counts_as_not_set(site_file: Path) -> None:
    site_file.write_text('mlflow_uri = "http://site"')
    settings = load_settings({"MLFLOW_TRACKING_URI": ""}, site_file=site_file)
    assert settings.mlflow_uri == "http://site"


def test_an_empty_variable_of_ours_switches_a_service_off(site_file: Path) -> None:
    site_file.write_text('xcache_url = "root://cache:1094"')
    settings = load_settings({"CASA_ENV_XCACHE_URL": ""}, site_file=site_file)
    assert settings.xcache_url == ""


def test_nothing_is_read_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.toml", "casa-env.toml", ".casa-env.toml"):
        (tmp_path / name).write_text('dask_address = "tcp://evil:1"')
    (tmp_path / "casa-env").mkdir()
    (tmp_path / "casa-env" / "config.toml").write_text('dask_address = "tcp://evil:1"')
    monkeypatch.chdir(tmp_path)
    assert load_settings(site_file=NOWHERE).dask_address == ""


def test_the_users_file_is_below_the_xdg_configuration_home(tmp_path: Path) -> None:
    file = tmp_path / "casa-env" / "config.toml"
    file.parent.mkdir()
    file.write_text('site_name = "mine"')
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert load_settings(environ, site_file=NOWHERE).site_name == "mine"


def test_a_variable_names_the_sites_file(site_file: Path) -> None:
    site_file.write_text('site_name = "ours"')
    environ = {"CASA_ENV_SITE_FILE": str(site_file)}
    assert load_settings(environ).site_name == "ours"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('xcache_ulr = "x"', 1, "no setting 'xcache_ulr'; the nearest is 'xcache_url'"),
        ("\n\ndask_workers = -1", 3, "dask_workers cannot be -1: expected a whole"),
        ("dask_workers = true", 1, "dask_workers cannot be True"),
        ("\ndask_processes = 1", 2, "expected true or false"),
        ('dask_worker_memory_bytes = "2 XB"', 1, "expected a size"),
        ("mlflow_uri = 3", 1, "expected text"),
        ('token_hosts = "a"\nx509_ca_dir = 2', 2, "x509_ca_dir cannot be 2"),
        ('xcache_mode = "forward"', 1, "the nearest is 'forwarding'"),
        ('[profile.a]\n\ndask_bakend = "x"', 3, "nearest is 'dask_backend'"),
        ('[profile.a]\nprofile = "b"', 2, "profile may not stand here"),
        ('x509_proxy = "proxy.pem"', 1, "not an absolute path"),
        ('bearer_token = "abc"', 1, "bearer_token may not stand here"),
        ("[dask]\nworkers = 2", 1, "no setting 'dask'"),
        ('"site_name" = 4', 1, "site_name cannot be 4"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_line(
    text: str, line: int, words: str, site_file: Path
) -> None:
    site_file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, site_file=site_file)
    assert words in caught.value.what
    assert caught.value.looked_at == f"{site_file}, line {line}"
    assert caught.value.next_step


def test_text_that_is_no_toml_is_refused_with_file_and_line(site_file: Path) -> None:
    site_file.write_text('site_name = "x"\nmlflow_uri = http://x\n')
    with pytest.raises(SettingsError, match=r"not valid TOML: .*line 2") as caught:
        load_settings({}, site_file=site_file)
    assert caught.value.looked_at == str(site_file)


def test_bytes_that_are_no_text_are_refused_with_file_and_line(site_file: Path) -> None:
    site_file.write_bytes(b'site_name = "x"\n# \xff\n')
    with pytest.raises(SettingsError, match="not UTF-8") as caught:
        load_settings({}, site_file=site_file)
    assert caught.value.looked_at == f"{site_file}, line 2"


def test_a_file_that_cannot_be_read_is_no_silence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        load_settings({}, site_file=tmp_path)
    assert caught.value.looked_at == str(tmp_path)


def test_a_misspelt_variable_of_ours_is_refused() -> None:
    with pytest.raises(SettingsError, match="nearest is 'xcache_url'") as caught:
        load_settings({"CASA_ENV_XCACHE_ULR": "x"}, site_file=NOWHERE)
    assert caught.value.looked_at == "CASA_ENV_XCACHE_ULR"


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(SettingsError, match="nearest is 'dask_backend'"):
        load_settings({}, site_file=NOWHERE, dask_backnd="local")


def test_a_wrong_value_in_a_variable_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="cpu_limit cannot be") as caught:
        load_settings({"CPU_LIMIT": "many"}, site_file=NOWHERE)
    assert caught.value.looked_at == "CPU_LIMIT"


PROFILES = """\
dask_workers = 1
site_name = "site"

[profile.slurm]
dask_workers = 2

[profile."my gpu"]
dask_workers = 3
"""


@pytest.mark.parametrize(
    ("profile", "workers"), [(None, 1), ("slurm", 2), ("my gpu", 3)]
)
def test_a_profile_wins_over_the_rest_of_its_file(
    profile: str | None, workers: int, site_file: Path
) -> None:
    site_file.write_text(PROFILES)
    settings = load_settings({}, site_file=site_file, profile=profile)
    assert settings.dask_workers == workers
    assert settings.site_name == "site"


def test_the_users_file_wins_over_a_profile_of_the_sites(
    site_file: Path, user_file: Path
) -> None:
    site_file.write_text(PROFILES)
    user_file.write_text("dask_workers = 9")
    environ = {"HOME": str(user_file.parents[2]), "CASA_ENV_PROFILE": "slurm"}
    assert load_settings(environ, site_file=site_file).dask_workers == 9


def test_a_file_can_pick_one_of_the_sites_profiles(
    site_file: Path, user_file: Path
) -> None:
    site_file.write_text(PROFILES)
    user_file.write_text('profile = "slurm"')
    environ = {"HOME": str(user_file.parents[2])}
    settings = load_settings(environ, site_file=site_file)
    assert (settings.profile, settings.dask_workers) == ("slurm", 2)


def test_a_profile_that_is_not_there_is_refused_with_those_there_are(
    site_file: Path,
) -> None:
    site_file.write_text(PROFILES)
    with pytest.raises(SettingsError, match=r"'slrum'; there are: my gpu, slurm") as c:
        load_settings({"CASA_ENV_PROFILE": "slrum"}, site_file=site_file)
    assert c.value.looked_at == "CASA_ENV_PROFILE"


def test_a_profile_that_is_no_table_is_refused(site_file: Path) -> None:
    site_file.write_text("[profile]\nslurm = 3")
    with pytest.raises(SettingsError, match="'slurm' is not a table"):
        load_settings({}, site_file=site_file)


@pytest.mark.parametrize(
    ("environ", "arguments", "backend"),
    [
        ({}, {}, "local"),
        ({"DASK_SCHEDULER_ADDRESS": "tcp://a:1"}, {}, "join"),
        ({"CASA_ENV_DASK_ADDRESS": "tcp://a:1"}, {}, "join"),
        ({"DASK_SCHEDULER_ADDRESS": "tcp://a:1"}, {"dask_backend": "local"}, "local"),
        ({"CASA_ENV_DASK_BACKEND": "local"}, {"dask_address": "tcp://a:1"}, "join"),
        (
            {"DASK_SCHEDULER_ADDRESS": "tcp://a:1", "CASA_ENV_DASK_BACKEND": "slurm"},
            {},
            "slurm",
        ),
    ],
)
def test_an_address_means_join_unless_a_back_end_is_named_as_strongly(
    environ: dict[str, str], arguments: dict[str, str], backend: str
) -> None:
    settings = load_settings(environ, site_file=NOWHERE, **arguments)
    assert settings.dask_backend == backend


def test_a_site_that_names_back_end_and_address_means_what_it_says(
    site_file: Path,
) -> None:
    site_file.write_text('dask_backend = "gateway"\ndask_address = "tcp://a:1"')
    assert load_settings({}, site_file=site_file).dask_backend == "gateway"


def test_binder_runs_threads_unless_told_otherwise() -> None:
    binder = {"BINDER_REQUEST": "v2/gh/a/b/main"}
    settings = load_settings(binder, site_file=NOWHERE)
    assert settings.dask_processes is False
    assert settings.origin("dask_processes") == "site is binder"
    told = {**binder, "CASA_ENV_DASK_PROCESSES": "true"}
    assert load_settings(told, site_file=NOWHERE).dask_processes is True


def test_a_session_knows_its_limits_from_the_spawner() -> None:
    environ = {"CPU_LIMIT": "1.5", "MEM_LIMIT": "2147483648"}
    settings = load_settings(environ, site_file=NOWHERE)
    assert (settings.cpu_limit, settings.memory_limit_bytes) == (1.5, 2**31)


def test_a_tilde_stands_for_the_home_directory(site_file: Path) -> None:
    site_file.write_text('x509_proxy = "~/proxy.pem"')
    settings = load_settings({}, home=Path("/home/a"), site_file=site_file)
    assert settings.x509_proxy == Path("/home/a/proxy.pem")


def test_a_secret_is_in_no_representation_and_no_error() -> None:
    environ = {
        "BEARER_TOKEN": "s3cret",
        "MLFLOW_TRACKING_URI": "https://alice:s3cret@host",
    }
    settings = load_settings(environ, site_file=NOWHERE)
    assert settings.bearer_token == "s3cret"  # noqa: S105 - a made-up one
    texts = [repr(settings), str(settings)]
    texts += [settings.shown(name) for name in declarations()]
    texts += [settings.origin(name) for name in declarations()]
    assert "s3cret" not in " ".join(texts)
    with pytest.raises(SettingsError) as caught:
        load_settings({"BEARER_TOKEN": ""}, site_file=NOWHERE, bearer_token=b"s3cret")
    assert "s3cret" not in str(caught.value)


def test_the_representation_names_what_differs_from_the_defaults() -> None:
    settings = load_settings({"CASA_ENV_DASK_WORKERS": "3"}, site_file=NOWHERE)
    assert repr(settings) == "Settings(dask_workers=3)"


def test_settings_survive_pickling_with_their_sources() -> None:
    settings = load_settings({"CPU_LIMIT": "2"}, site_file=NOWHERE)
    again = pickle.loads(pickle.dumps(settings))  # noqa: S301 - our own bytes
    assert again == settings
    assert again.origin("cpu_limit") == "CPU_LIMIT"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().dask_workers = 3  # type: ignore[misc]


@pytest.mark.parametrize("method", ["source", "origin", "shown"])
def test_asking_for_a_setting_that_is_not_there_names_the_nearest(method: str) -> None:
    with pytest.raises(SettingsError, match="nearest is 'xcache_url'"):
        getattr(Settings(), method)("xcache_uri")
