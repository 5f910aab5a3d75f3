"""publish/web_config.py: bytes of a file in, a WebConfig or sentences out. No file is opened."""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vedette.errors import ConfigError
from vedette.publish.web_config import RateLimit, Tls, WebConfig, parse, read

HERE = Path("/etc/prometheus")
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"  # the toolkit's own example
PAIR = "tls_server_config: {cert_file: a.crt, key_file: a.key, %s}"
# docs/web-config.yml of exporter-toolkit, as people have copied it.
TOOLKIT = f"""
# TLS and basic authentication configuration example.
tls_server_config:
  cert_file: server.crt
  key_file: server.key
basic_auth_users:
  alice: {HASH}
rate_limit:
  interval: "1s" # time interval between two requests, set to 0 to disable rate limiter
  burst: 20 # and permits a burst of up to 20 requests.
"""
# Each key that there is.
EVERYTHING = f"""
tls_server_config:
  cert_file: /tls/server.crt
  key_file: /tls/server.key
  client_ca_file: ../ca.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example, 192.0.2.7, FD99:0::1, spiffe://x/y, a@example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: no
  curve_preferences: [CurveP384]
http_server_config:
  http2: true
  headers: {{X-Frame-Options: deny, Strict-Transport-Security: max-age=1, X-XSS-Protection: ''}}
basic_auth_users: {{007: '{HASH}', no: '{HASH}'}}
rate_limit: {{interval: 1m30s, burst: 5}}
"""


def problems(text: str) -> list[str]:
    """Return why this is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), HERE)
    return caught.value.problems


def tls(more: str) -> Tls:
    """Return what comes of a pair and something more."""
    found = parse((PAIR % more).encode(), HERE).tls
    assert found is not None
    return found


def test_the_toolkits_own_example() -> None:
    """docs/web-config.yml of exporter-toolkit, as people have copied it."""
    assert parse(TOOLKIT.encode(), HERE) == WebConfig(
        tls=Tls(certificate=HERE / "server.crt", key=HERE / "server.key"),
        users={"alice": HASH},
        rate_limit=RateLimit(1.0, 20),
    )


def test_everything_that_the_format_has() -> None:
    """Whoever uses node_exporter has one of these keys."""
    assert parse(EVERYTHING.encode(), HERE) == WebConfig(
        tls=Tls(
            certificate=Path("/tls/server.crt"),
            key=Path("/tls/server.key"),
            client_auth="RequireAndVerifyClientCert",
            client_ca=HERE / "../ca.crt",
            allowed_sans=frozenset(
                {"prometheus.example", "192.0.2.7", "fd99::1", "spiffe://x/y", "a@example"}
            ),
            ciphers=("ECDHE-RSA-AES128-GCM-SHA256",),
            server_chooses=False,
            curve="secp384r1",
        ),
        headers={"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=1"},
        users={"007": HASH, "no": HASH},
        rate_limit=RateLimit(90.0, 5),
    )


@pytest.mark.parametrize("text", ["", "# nothing", "---", "tls_server_config:", "{}", "null"])
def test_nothing_asks_for_nothing(text: str) -> None:
    """The toolkit takes an empty file as well."""
    assert parse(text.encode(), HERE) == WebConfig()


def test_pem_may_stand_in_the_file() -> None:
    """Newer toolkits have it, for files made from a secret store."""
    text = "tls_server_config: {cert: CERT, key: KEY, client_auth_type: NoClientCert}"

    assert parse(text.encode(), HERE).tls == Tls(certificate="CERT", key="KEY")


def test_secrets_are_not_shown() -> None:
    """Neither a key nor a hash may get into a log by way of a repr."""
    text = f"tls_server_config: {{cert: C, key: SECRET}}\nbasic_auth_users: {{a: '{HASH}'}}"
    shown = repr(parse(text.encode(), HERE))

    assert "SECRET" not in shown
    assert HASH not in shown


def test_suites_of_tls_13_alone_leave_tls_13_alone() -> None:
    """Go has no suite for a TLS 1.2 handshake then, either."""
    assert tls("cipher_suites: [TLS_AES_256_GCM_SHA384]").least is ssl.TLSVersion.TLSv1_3
    assert tls("cipher_suites: [TLS_AES_256_GCM_SHA384]").ciphers is None


def test_openssl_knows_every_suite_that_is_mapped() -> None:
    """A misspelt name would make a whole list empty."""
    from vedette.publish import web_config  # noqa: PLC0415

    known = {c["name"] for c in _all_ciphers()}
    assert set(web_config._CIPHERS.values()) <= known  # noqa: SLF001 - the table itself


def _all_ciphers() -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context.get_ciphers()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tls_server_confg: {}", "tls_server_confg: unknown key; did you mean tls_server_config?"),
        (PAIR % "cert_fle: x", "tls_server_config.cert_fle: unknown key; did you mean cert_file?"),
        ("tls_server_config: 5", "it must hold keys and values"),
        ("[]", "it must hold keys and values (tls_server_config, http_server_config,"),
        ("tls_server_config: {cert_file: a}", "key_file: is missing"),
        ("tls_server_config: {key_file: a}", "cert_file: is missing"),
        ("tls_server_config: {min_version: TLS13}", "cert_file: is missing"),
        (PAIR % "cert: x", "keep one of them"),
        (PAIR % "min_version: TLS11", "TLS 1.2 is the least"),
        (PAIR % "max_version: TLS10", "TLS 1.2 is the least"),
        (PAIR % "min_version: SSL3", "'SSL3' is not allowed (allowed: TLS12, TLS13)"),
        (PAIR % "min_version: TLS13, max_version: TLS12", "max_version: is below"),
        (PAIR % "max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]", "is below"),
        (
            PAIR % "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265]",
            "did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?",
        ),
        (PAIR % "cipher_suites: TLS_AES_128_GCM_SHA256", "it must be a list of texts"),
        (PAIR % "curve_preferences: [P256]", "'P256' is not known (known: CurveP256,"),
        (PAIR % "prefer_server_cipher_suites: maybe", "allowed: true or false"),
        (PAIR % "client_auth_type: Sometimes", "'Sometimes' is not allowed"),
        (PAIR % "client_auth_type: RequireAnyClientCert", "so protects nothing"),
        (PAIR % "client_auth_type: RequireClientCert", "so protects nothing"),
        (PAIR % "client_auth_type: RequireAndVerifyClientCert", "client_ca_file: is missing"),
        (PAIR % "client_ca_file: ca.crt", "with NoClientCert, client_ca_file is never asked"),
        (PAIR % "client_allowed_sans: [a]", "nobody checks them"),
        ("http_server_config: {http2: 2}", "allowed: true or false"),
        ("http_server_config: {headers: {Server: x}}", "headers.Server: unknown key"),
        ("http_server_config: {headers: {X-Frame-Options: no}}", "allowed: deny or sameorigin"),
        (
            'http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}',
            "printable ASCII only",
        ),
        ("basic_auth_users: [a]", "it must hold names and bcrypt hashes"),
        ("basic_auth_users: {a: hunter2}", "basic_auth_users.a: is no bcrypt hash"),
        ("basic_auth_users: {a: 5}", "basic_auth_users.a: is no bcrypt hash"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}", "without a colon"),
        (f"basic_auth_users: {{a: '{HASH.replace('$10$', '$31$')}'}}", "a cost of 31"),
        (f"basic_auth_users: {{a: '{HASH}', a: '{HASH}'}}", "'a' stands there twice"),
        ("rate_limit: {interval: soon, burst: 1}", "'soon' is no duration"),
        ("rate_limit: {interval: 1s, burst: -1}", "it must be a whole number"),
        ("rate_limit: {interval: 1s}", "0 would refuse every request"),
        ("rate_limit: {interval: 999999999999999h, burst: 1}", "is no duration"),
        ("a: [", "it cannot be read as YAML"),
        ("a: !!python/object:os.system x", "it cannot be read as YAML"),
        ("a: !!timestamp 2001-99-99", "could not determine a constructor for the tag"),
        ("!!timestamp alice: 5", "could not determine a constructor for the tag"),
        ("[" * 5000, "it cannot be read as YAML: RecursionError"),
    ],
)
def test_what_is_refused_and_how(text: str, says: str) -> None:
    """One sentence each, with the key."""
    assert says in "\n".join(problems(text))


def test_a_password_in_place_of_a_hash_is_not_repeated() -> None:
    """The sentence goes to the log."""
    assert "hunter2" not in "".join(problems("basic_auth_users: {a: hunter2}"))


def test_a_broken_line_is_not_repeated() -> None:
    """It may be part of a key."""
    assert "MIIE" not in "".join(problems("tls_server_config:\n  key: 'MIIE\n x: ]'\n ' : ["))


def test_all_problems_are_told_at_once() -> None:
    """Nobody wants to start the agent five times."""
    assert len(problems("a: 1\nb: 2\nrate_limit: {interval: x}")) == 3


def test_aliases_do_not_blow_up() -> None:
    """A billion laughs, shown in a refusal, would fill the memory."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    said = problems("\n".join([*lines, "basic_auth_users: *a59", "tls_server_config: *a59"]))

    assert sum(map(len, said)) < 20_000


def test_a_huge_file_is_refused() -> None:
    """It is read while scrapes wait."""
    assert problems("#" * (1 << 20)) == ["it is larger than 256 KiB"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The sentence names it."""
    with pytest.raises(ConfigError, match=r"web\.yml: No such file or directory"):
        read(tmp_path / "web.yml")
    with pytest.raises(ConfigError, match="directory"):
        read(tmp_path)


def test_a_directory_stands_for_relative_paths(tmp_path: Path) -> None:
    """The file's own, wherever the agent was started."""
    (tmp_path / "web.yml").write_text(PAIR % "")

    found = read(tmp_path / "web.yml").tls
    assert found is not None
    assert found.files() == (tmp_path / "a.crt", tmp_path / "a.key")


KEYS = st.sampled_from(
    [
        *("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "headers"),
        *("cert_file", "key_file", "client_ca_file", "cert", "key", "client_ca", "interval"),
        *("client_auth_type", "client_allowed_sans", "min_version", "max_version", "burst"),
        *("cipher_suites", "prefer_server_cipher_suites", "curve_preferences", "http2"),
        *("X-Frame-Options", "Content-Security-Policy", "alice"),
    ]
)
VALUES = st.sampled_from(
    [
        *("TLS12", "TLS13", "RequireAndVerifyClientCert", "VerifyClientCertIfGiven", HASH, "1s"),
        *("CurveP256", "X25519", "TLS_AES_128_GCM_SHA256", "deny", "true", "5", ""),
    ]
)
LEAVES = st.one_of(
    VALUES, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.binary(),
    st.dates(), st.datetimes(),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(KEYS, st.text(max_size=8)), inner, max_size=6),
    ),
    max_leaves=20,
)


def check(contents: bytes) -> None:
    """Hold that a WebConfig comes of it, or printable sentences."""
    said: list[str] = []
    try:
        found = parse(contents, HERE)
    except ConfigError as exc:
        said, found = exc.problems or [""], WebConfig()
    assert all(0 < len(problem) < 600 for problem in said)
    assert all(isinstance(name, str) and ":" not in name for name in found.users)
    assert found.rate_limit is None or found.rate_limit.interval_seconds > 0
    if found.tls is not None:
        assert found.tls.least <= found.tls.most
        assert found.tls.certificate
        assert found.tls.key
        # Nothing that looks like a check of clients and is none.
        verifies = found.tls.client_auth.endswith(("VerifyClientCert", "IfGiven"))
        assert verifies == (found.tls.client_ca is not None)
        assert verifies or found.tls.allowed_sans is None


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_is_a_config_or_sentences(tree: Any) -> None:
    """Whatever somebody writes under our keys."""
    check(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda s: s.encode())))
@example(b"\xff\xfe")
@example(b"? {a: b}\n: c")
@example(b"&a [*a]")
@example(b"basic_auth_users: &a {b: *a}")
@example(b'tls_server_config: {cert_file: "\\ud800", key_file: "\\0"}')
@example(b"rate_limit: {interval: " + b"9" * 5000 + b", burst: 1}")
@example(b"basic_auth_users: !!set {a, b}")
@example(b"rate_limit: {burst: !!int " + b"9" * 5000 + b"}")
def test_any_garbage_is_a_config_or_sentences(contents: bytes) -> None:
    """Whatever a half-written file holds."""
    check(contents)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_cut_is_a_config_or_sentences(data: st.DataObject) -> None:
    """A file that is being written: each prefix of a good one."""
    text = f"""tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_ca_file: ca.crt
  client_auth_type: RequireAndVerifyClientCert
basic_auth_users:
  alice: {HASH}
""".encode()
    with suppress(ConfigError):
        check(text[: data.draw(st.integers(0, len(text)))])
