"""The command `vedette`.

Exit codes: 0 done, 1 it did not work, and after sysexits.h 64 usage, 69 the address is taken, 78
the configuration is refused.
"""

import argparse
import faulthandler
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, NoReturn

from vedette import __version__

# Of the capture, when jobs run only once: somebody is waiting.
_SHORT_WINDOW_SECONDS = 3


EX_FAILED, EX_USAGE, EX_UNAVAILABLE, EX_CONFIG = 1, 64, 69, 78


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["capture"]:  # a process of its own, which loads nothing of the rest
        from vedette.capture.__main__ import main as capture  # noqa: PLC0415

        sys.argv[1:] = words[1:]
        return capture()
    if words[:1] == ["inventory"]:  # it has root's eyes: it loads nothing of the rest, either
        from vedette.inventory import main as inventory  # noqa: PLC0415

        return inventory(words[1:], _Parser)
    from vedette.edges.config_process import ConfigProcess  # noqa: PLC0415 - it must be early

    reader = ConfigProcess()
    from vedette import settings  # noqa: PLC0415 - while the child loads what it needs
    from vedette.errors import ConfigError, JobError  # noqa: PLC0415

    try:
        given = _parser().parse_args(words)
    except SystemExit:  # --help, or a usage error
        reader.end()
        raise
    if given.command is _run:
        from vedette import agent  # noqa: F401, PLC0415 - as above
    try:
        code: int = given.command(given, settings.load(given.config, _flags(given), reader))
    except ConfigError as exc:
        for problem in exc.problems:
            print(f"vedette: configuration: {problem}", file=sys.stderr)
        return EX_CONFIG
    except JobError as exc:
        print(f"vedette: {exc}", file=sys.stderr)
        return EX_FAILED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_FAILED
    return code


def _flags(given: argparse.Namespace) -> dict[str, str]:
    """Return the settings among the flags: {"scan.interval_seconds": "600"}."""
    return {
        key.removeprefix("setting:"): value
        for key, value in vars(given).items()
        if key.startswith("setting:") and value is not None
    }


def _parser() -> argparse.ArgumentParser:
    from vedette import cli_knowledge, cli_sniff  # noqa: PLC0415
    from vedette.option import allowed  # noqa: PLC0415
    from vedette.settings import DEFAULT_FILE, all_leaves  # noqa: PLC0415

    parser = _Parser(prog="vedette", description="A sentry on every host.")
    parser.add_argument("--version", action="version", version=f"vedette {__version__}")
    common = _Parser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=os.environ.get("VEDETTE_CONFIG") and Path(os.environ["VEDETTE_CONFIG"]),
        help=f"configuration file (default: {DEFAULT_FILE}, if it exists)",
    )
    group = common.add_argument_group("settings", "each goes over its variable and the file")
    for path, kind, entry in all_leaves():
        group.add_argument(
            f"--{path.replace('_', '-')}",
            dest=f"setting:{path}",
            metavar="VALUE",
            help=f"{entry.metadata['text']} ({allowed(kind, entry)})".replace("%", "%%"),
        )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Any, text: str, *, formats: tuple[str, ...] = ()) -> Any:
        sub = commands.add_parser(name, help=text, description=text, parents=[common])
        sub.set_defaults(command=command)
        if formats:
            sub.add_argument("--format", choices=formats, default=formats[0])
        return sub

    add("run", _run, "Run the agent in the foreground.")
    once = add("once", _once, "Run every job once and print the metrics.", formats=("text", "json"))
    once.add_argument("--job", metavar="NAME", help="only this one (and those it builds on)")
    scan = add(
        "scan", _scan, "Scan this host, or the addresses given, and print what is open.",
        formats=("table", "json"),
    )  # fmt: skip
    scan.add_argument("target", nargs="*", metavar="TARGET", help="address or network (CIDR)")
    scan.add_argument(
        "--allow-public",
        action="store_true",
        help="TARGET may be public: you are allowed to scan it",
    )
    scan.add_argument(
        "--deep", action="store_true", help="take minutes to identify what stays unknown"
    )
    assess = add(
        "assess", _assess, "List all that is known against what listens, worst first.",
        formats=("table", "json", "sarif", "cyclonedx"),
    )  # fmt: skip
    assess.add_argument(
        "--nmap-xml", type=Path, metavar="FILE",
        help="judge this report of `nmap -sV -oX` instead of scanning this host",
    )  # fmt: skip
    assess.add_argument(
        "--listeners", type=Path, metavar="FILE",
        help="with --nmap-xml: what `vedette inventory` wrote on that host",
    )  # fmt: skip
    assess.add_argument(
        "--knowledge", type=Path, metavar="FILE", help="this base instead of the newest one here"
    )
    assess.add_argument(
        "--accepted", type=Path, metavar="FILE",
        help="this list of accepted findings instead of the configuration's",
    )  # fmt: skip
    cli_knowledge.add_to(
        commands.add_parser("knowledge", help="Make or show the base of vulnerabilities."), common
    )
    sniff = add("sniff", None, "Watch the network, or read a capture.", formats=("table", "json"))
    cli_sniff.add_to(sniff)
    report = add(
        "report", _report, "Run every job once and write the page as one HTML file.",
        formats=("html", "json"),
    )  # fmt: skip
    report.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    add(
        "check-config", _check_config, "Check the configuration and print what it comes to.",
        formats=("yaml", "json"),
    )  # fmt: skip
    add(
        "selfcheck", _selfcheck, "Check whether the agent can do its work here.",
        formats=("table", "json"),
    )  # fmt: skip
    add(
        "decommission", _decommission,
        "Delete this host's group from the Pushgateway, once the agent is stopped for good.",
    )  # fmt: skip
    add("reference", _reference, "Print every setting, as a Markdown table.")
    commands.add_parser(
        "inventory", help="Write down which package is behind each listening socket (as root)."
    )
    commands.add_parser("capture", help="The capture process; the agent starts it by itself.")
    return parser


def _run(given: argparse.Namespace, settings: Any) -> int:
    from vedette import log, memory  # noqa: PLC0415
    from vedette.agent import Agent  # noqa: PLC0415
    from vedette.publish.server import AddressInUse  # noqa: PLC0415
    from vedette.settings import load  # noqa: PLC0415

    memory.share_one_arena()
    faulthandler.enable()  # also of SIGABRT, which systemd's watchdog sends: all stacks in the log
    # A worker that parses for long hands over after 1 ms, not 5: a scrape waits for it three times.
    sys.setswitchinterval(0.001)
    stop = Event()

    agent = Agent(
        settings,
        log.start(settings.log_level, settings.log_format),
        lambda: load(given.config, _flags(given)),
    )
    # A handler interrupts the main thread anywhere, also where it holds the lock of an event or of
    # the log: it may only hand the signal on, and SimpleQueue.put is made for that.
    signals: SimpleQueue[int] = SimpleQueue()
    on_terminal = sys.stdin.isatty()
    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGINT", "SIGHUP")]
    for number in filter(None, numbers):
        signal.signal(number, lambda number, _: signals.put(number))

    def listen() -> None:
        while True:
            name = signal.Signals(signals.get()).name
            if name == "SIGHUP" and not (on_terminal and not sys.stdin.isatty()):
                agent.reload.ask()
                continue
            if name == "SIGHUP":  # the terminal was closed: what is still written has no reader
                nowhere = os.open(os.devnull, os.O_WRONLY)
                for stream in (sys.stdout, sys.stderr):
                    os.dup2(nowhere, stream.fileno())
            log.event("info", "stopping", signal=name)
            stop.set()

    Thread(target=listen, name="signals", daemon=True).start()

    def say(address: str) -> None:
        log.event("info", "vedette watches this host", page=address, metrics=f"{address}metrics")

    # All that is loaded stays: to look through it for garbage stops every thread for 12 ms. What is
    # garbage already goes first.
    gc.collect()
    gc.freeze()
    memory.let_go_of_libraries()
    try:
        agent.run(stop, say)
    except AddressInUse as exc:
        print(f"vedette: {exc}; choose another with --publish.expose.port", file=sys.stderr)
        return EX_UNAVAILABLE
    # Python puts the defaults back as it ends: whoever asks twice would make a failure of it.
    for number in filter(None, numbers):
        signal.signal(number, signal.SIG_IGN)
    return 0


def _once(given: argparse.Namespace, settings: Any) -> int:
    from vedette.publish.exposition import TEXT  # noqa: PLC0415

    agent, failed = _run_jobs(settings, given.job)
    if given.format == "json":
        print(json.dumps(agent.inventory(), default=str, indent=2))
    else:
        sys.stdout.write(agent.metrics.body(TEXT, compressed=False).decode())
    return EX_FAILED if failed else 0


def _report(given: argparse.Namespace, settings: Any) -> int:
    from vedette.publish.page import page  # noqa: PLC0415

    output: Path | None = given.output
    if output is not None and (problem := _refused(output, lambda file: file.open("a").close())):
        print(problem, file=sys.stderr)  # now, not after a minute of scanning
        return EX_FAILED
    agent, failed = _run_jobs(settings, None)
    inventory = agent.inventory()
    text = (
        json.dumps(inventory, default=str, indent=2)
        if given.format == "json"
        else page(inventory, live=False)
    )
    if output is None:
        sys.stdout.write(text)
    else:
        problem = _refused(output, lambda file: file.write_text(text, encoding="utf-8"))
        print(problem or f"vedette: wrote {output}", file=sys.stderr)
        failed = failed or bool(problem)
    return EX_FAILED if failed else 0


def _refused(file: Path, write: Callable[[Path], object]) -> str:
    """Write to a file; return why that does not work, "" if it does."""
    try:
        write(file)
    except OSError as exc:
        return f"vedette: {file}: {exc.strerror}"
    return ""


def _run_jobs(settings: Any, only: str | None) -> tuple[Any, bool]:
    """Run each job once, or one and what it builds on; return the agent, and if one failed."""
    from vedette import log, terminal  # noqa: PLC0415
    from vedette.agent import Agent  # noqa: PLC0415
    from vedette.errors import ConfigError  # noqa: PLC0415

    sniff = settings.jobs["sniff"]
    short = replace(sniff, interval_seconds=min(sniff.interval_seconds, _SHORT_WINDOW_SECONDS))
    settings = replace(settings, jobs={**settings.jobs, "sniff": short})
    enabled = settings.enabled_jobs()
    if only is not None and only not in enabled:
        raise ConfigError([f"--job {only}: there is {', '.join(enabled)}"])
    wanted = set(enabled) if only is None else {only, *enabled[only][0].after}
    # What others build on goes first.
    order = sorted(wanted & set(enabled), key=lambda name: (len(enabled[name][0].after), name))
    agent = Agent(settings, log.start(settings.log_level, settings.log_format))
    try:
        for number, name in enumerate(order):
            with terminal.progress(f"{name} ({number + 1} of {len(order)})") as tell:
                agent.runner.workers[name].run_once(tell)
        agent.metrics.refresh()
        records = agent.store.records()
        return agent, any(records[name].failure is not None for name in order)
    finally:
        agent.stop_children()


def _scan(given: argparse.Namespace, settings: Any) -> int:
    from vedette import targets, terminal  # noqa: PLC0415
    from vedette.edges import host  # noqa: PLC0415

    own = {a.address for a in host.addresses()}
    try:
        networks = [targets.parse(text) for text in given.target]
        targets.check(
            networks,
            allow_public=given.allow_public,
            own=own,
            switch="--allow-public must be given",
        )
    except ValueError as exc:
        print(f"vedette: refused: {exc}", file=sys.stderr)
        return EX_USAGE
    options = settings.jobs["scan"]
    if not given.deep:
        options = replace(options, deep_probe_seconds=0.0)
    if networks:
        options = replace(
            options, networks=tuple(networks), this_host=False, allow_public=given.allow_public
        )
        # Whoever writes ports beside a target means the target's.
        if "scan.tcp_ports" in _flags(given):
            options = replace(options, network_tcp_ports=options.tcp_ports)
    scan = _scanned(settings, options)
    if given.format == "json":
        from vedette.publish.inventory import scan_as_json  # noqa: PLC0415

        print(json.dumps(scan_as_json(scan), default=str, indent=2))
    else:
        terminal.print_scan(scan)
    return 0


def _scanned(settings: Any, options: Any) -> Any:
    """Scan once, without a history; return the snapshot."""
    from vedette import log, terminal  # noqa: PLC0415
    from vedette.history import History  # noqa: PLC0415
    from vedette.job import Context  # noqa: PLC0415
    from vedette.jobs import scan as job  # noqa: PLC0415
    from vedette.store import Store  # noqa: PLC0415

    log.start(settings.log_level, settings.log_format)
    with terminal.progress("scan") as tell:
        context: Context[Any] = Context(
            previous=None,
            latest=Store(),
            known=History(None).known,
            stop=Event(),
            progress=lambda ratio, _: tell(ratio),
            now=time.time,
        )
        *_, scan = job.observe(options, context)
    return scan


def _assess(given: argparse.Namespace, settings: Any) -> int:
    from vedette import exports, terminal  # noqa: PLC0415
    from vedette.errors import ConfigError  # noqa: PLC0415

    options = settings.jobs["scan"]
    if given.accepted is not None:
        try:
            options = replace(options, accepted_findings_file=given.accepted)
        except ValueError as exc:
            raise ConfigError([str(exc)]) from exc
    judge = _assess_this_host if given.nmap_xml is None else _assess_report
    document = judge(given, settings, options)
    if given.format == "table":
        terminal.print_findings(document)
        return 0
    made: Any = document
    if given.format == "sarif":
        made = exports.sarif(document)
    elif given.format == "cyclonedx":
        made = exports.cyclonedx(document, time.time())
    print(json.dumps(made, indent=2))
    return 0


def _assess_this_host(given: argparse.Namespace, settings: Any, options: Any) -> Any:
    from vedette import assess  # noqa: PLC0415
    from vedette.risk.knowledge import Knowledge  # noqa: PLC0415

    if given.listeners is not None:
        options = replace(options, listeners_file=given.listeners)
    if given.knowledge is not None:
        Knowledge(given.knowledge).close()  # who names one wants no other
        options = replace(options, knowledge_file=given.knowledge, knowledge_sha256="")
    return assess.of_ports(_scanned(settings, options).ports)


def _assess_report(given: argparse.Namespace, _: Any, options: Any) -> Any:
    from vedette import assess  # noqa: PLC0415
    from vedette.edges import acceptances, packages  # noqa: PLC0415
    from vedette.errors import NotReady  # noqa: PLC0415
    from vedette.risk.knowledge import Knowledge, open_newest  # noqa: PLC0415

    listed = options.accepted_findings_file
    accepted = acceptances.read(listed) if listed else ()
    try:
        report = given.nmap_xml.read_bytes()
    except OSError as exc:
        raise NotReady(f"{given.nmap_xml}: {exc.strerror}") from exc
    inventory = packages.read(given.listeners) if given.listeners else None
    if given.knowledge is not None:
        base = Knowledge(given.knowledge)
    else:
        base, problems = open_newest([options.knowledge_file], options.knowledge_sha256)
        for problem in problems:
            print(f"vedette: {problem}", file=sys.stderr)
    return assess.of_report(report, inventory, base, time.time(), accepted)


def _check_config(given: argparse.Namespace, settings: Any) -> int:
    web = settings.publish.expose.web_config_file
    if web is not None:
        from vedette.publish import guard  # noqa: PLC0415

        print(f"vedette: {web}: {guard.words(guard.load(web), time.time())}", file=sys.stderr)
    # JSON has no paths and networks: they are shown as they would be written.
    values = json.loads(json.dumps(asdict(settings), default=str))
    values |= values.pop("jobs")
    if given.format == "json":
        print(json.dumps(values, indent=2))
    else:
        import yaml  # noqa: PLC0415

        print(yaml.safe_dump(values, sort_keys=False), end="")
    print("vedette: the configuration is valid", file=sys.stderr)
    return 0


def _decommission(_: argparse.Namespace, settings: Any) -> int:
    from vedette import log  # noqa: PLC0415
    from vedette.edges import host  # noqa: PLC0415
    from vedette.publish import outgoing  # noqa: PLC0415

    options = settings.publish.push
    log.start(settings.log_level, settings.log_format)
    if not options.url:
        print("vedette: publish.push.url is not set: there is no group to delete", file=sys.stderr)
        return 0
    push = outgoing.push(options, host.identity(), host.hostname())
    outcome = push.delete()
    if outcome.reason:
        why = f"{outcome.reason}: {outcome.words}".removesuffix(": ")
        print(f"vedette: {push.group} is still in {options.url}: {why}", file=sys.stderr)
        return EX_FAILED
    print(f"vedette: deleted {push.group} from {options.url}", file=sys.stderr)
    return 0


def _reference(_: argparse.Namespace, __: Any) -> int:
    from vedette.settings import reference  # noqa: PLC0415

    print(reference(), end="")
    return 0


def _selfcheck(given: argparse.Namespace, settings: Any) -> int:
    from vedette import selfcheck, terminal  # noqa: PLC0415

    checks = selfcheck.checks(settings)
    if given.format == "json":
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        terminal.print_checks(checks)
    return 0 if all(check.ok for check in checks) else EX_FAILED
