"""Grafana's provisioning files as its documentation and its types describe them, 10 to 13.

https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
https://grafana.com/docs/grafana/latest/administration/provisioning/
What is not described is refused here, though Grafana would pass over it.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Uid = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,40}$")]
Name = Annotated[str, Field(min_length=1)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/$]+")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(duration: str) -> int:
    """Return a duration without milliseconds and years in seconds."""
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", duration))


def _duration(text: str) -> str:
    """Check it as the common library of Prometheus does, which Grafana uses."""
    if not re.fullmatch(r"(?=.)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?", text):
        raise ValueError(f"not a duration: {text!r}")
    return text


def _of_ten_seconds(duration: str) -> str:
    if seconds(duration) % 10 or not seconds(duration):
        raise ValueError("Grafana evaluates at multiples of ten seconds")
    return duration


def _without_variables(values: dict[str, str]) -> dict[str, str]:
    """Refuse what Grafana would take for a variable of its environment: one $, not two."""
    for text in values.values():
        if "$" in text.replace("$$", ""):
            raise ValueError(f"a single $ in a label: {text!r}")
    return values


def _without_braced_variables(values: dict[str, str]) -> dict[str, str]:
    for text in values.values():
        if "${" in text or "$__" in text:
            raise ValueError(f"a variable of Grafana's environment in an annotation: {text!r}")
    return values


Duration = Annotated[str, AfterValidator(_duration)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Range(Strict):
    """Seconds before now."""

    from_: int = Field(alias="from", ge=0)
    to: int = Field(ge=0)


class Query(Strict):
    refId: Name
    queryType: str = ""
    relativeTimeRange: Range
    datasourceUid: Literal["vedette-prometheus", "__expr__"]
    model: dict[str, Any]

    @model_validator(mode="after")
    def _says_the_same_twice(self) -> "Query":
        assert self.model["refId"] == self.refId
        assert self.model["datasource"]["uid"] == self.datasourceUid
        if self.datasourceUid == "__expr__":
            assert self.model["type"] in {"math", "reduce", "resample", "threshold"}
        else:
            assert self.relativeTimeRange.from_ > self.relativeTimeRange.to
            # One number for each series, so nothing has to be reduced.
            assert (self.model["instant"], self.model["range"]) == (True, False)
        return self


class AlertRule(Strict):
    uid: Uid
    title: Annotated[str, Field(min_length=1, max_length=190)]
    condition: Name
    data: Annotated[list[Query], Field(min_length=1)]
    for_: Duration = Field(alias="for")
    keepFiringFor: Duration
    missing_series_evals_to_resolve: Annotated[int, Field(ge=1)]
    noDataState: Literal["NoData", "Alerting", "OK", "KeepLast"]
    execErrState: Literal["Error", "Alerting", "OK", "KeepLast"]
    annotations: Annotated[dict[str, str], AfterValidator(_without_braced_variables)]
    labels: Annotated[dict[str, str], AfterValidator(_without_variables)]
    isPaused: bool
    dashboardUid: Uid | None = None
    panelId: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> "AlertRule":
        names = [query.refId for query in self.data]
        assert len(names) == len(set(names))
        assert self.condition in names
        for query in self.data:
            if query.datasourceUid == "__expr__":
                asked = set(re.findall(r"\$\{?(\w+)", query.model["expression"]))
                assert asked, query.model["expression"]
                assert asked <= set(names) - {query.refId}
        for text in (*self.annotations.values(), *self.labels.values()):
            assert set(re.findall(r"\$values\.(\w+)", text)) <= set(names)
            assert not re.search(r"\$value\b(?!s)", text)
        assert (self.dashboardUid is None) == (self.panelId is None)
        return self


class RuleGroup(Strict):
    orgId: Literal[1]
    name: Name
    folder: Name
    interval: Annotated[Duration, AfterValidator(_of_ten_seconds)]
    rules: Annotated[list[AlertRule], Field(min_length=1)]


class Deletion(Strict):
    orgId: Literal[1]
    uid: Uid


class Email(Strict):
    addresses: Name  # separated by ; or ,
    singleEmail: bool = False
    subject: str = ""
    message: str = ""


class Slack(Strict):
    """An incoming webhook, or a token and whom to tell."""

    url: Url | None = None
    recipient: str = ""
    token: str = ""
    username: str = ""
    title: str = ""
    text: str = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Slack":
        assert self.url or (self.recipient and self.token)
        return self


class Webhook(Strict):
    url: Url
    httpMethod: Literal["POST", "PUT"] = "POST"
    username: str = ""
    password: str = ""
    authorization_scheme: str = ""
    authorization_credentials: str = ""
    maxAlerts: str = ""

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> "Webhook":
        assert not (self.username and self.authorization_credentials)
        return self


class Alertmanager(Strict):
    url: Url
    basicAuthUser: str = ""
    basicAuthPassword: str = ""


_SETTINGS: dict[str, type[Strict]] = {
    "email": Email,
    "slack": Slack,
    "webhook": Webhook,
    "prometheus-alertmanager": Alertmanager,
}


class Receiver(Strict):
    uid: Uid
    type: Literal["email", "slack", "webhook", "prometheus-alertmanager"]
    disableResolveMessage: bool
    settings: dict[str, Any]

    @model_validator(mode="after")
    def _settings_of_its_type(self) -> "Receiver":
        _SETTINGS[self.type].model_validate(self.settings)
        return self


class ContactPoint(Strict):
    orgId: Literal[1]
    name: Name
    receivers: Annotated[list[Receiver], Field(min_length=1)]


Matcher = tuple[Name, Literal["=", "!=", "=~", "!~"], str]


class Route(Strict):
    model_config = ConfigDict(strict=False)  # a matcher is a list that becomes a tuple
    receiver: Name
    object_matchers: Annotated[list[Matcher], Field(min_length=1)]
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    mute_time_intervals: list[Name] = []
    continue_: bool = Field(alias="continue", default=False)


class Policy(Strict):
    orgId: Literal[1]
    receiver: Name
    group_by: list[Name]
    group_wait: Duration
    group_interval: Duration
    repeat_interval: Duration
    routes: list[Route] = []


class Times(Strict):
    start_time: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end_time: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]


class TimeInterval(Strict):
    times: list[Times]


class MuteTime(Strict):
    orgId: Literal[1]
    name: Name
    time_intervals: list[TimeInterval]


class AlertingFile(Strict):
    apiVersion: Literal[1]
    groups: list[RuleGroup] = []
    deleteRules: list[Deletion] = []
    contactPoints: list[ContactPoint] = []
    policies: Annotated[list[Policy], Field(max_length=1)] = []
    muteTimes: list[MuteTime] = []

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> "AlertingFile":
        rules = [rule for group in self.groups for rule in group.rules]
        assert len({rule.uid for rule in rules}) == len(rules)
        assert len({rule.title for rule in rules}) == len(rules)  # unique in a folder
        assert len({group.name for group in self.groups}) == len(self.groups)
        assert not {rule.uid for rule in rules} & {one.uid for one in self.deleteRules}
        points = {point.name for point in self.contactPoints}
        assert len(points) == len(self.contactPoints)
        muted = {time.name for time in self.muteTimes}
        for policy in self.policies:
            # Grafana refuses to start where a policy names a contact point that there is not.
            assert {policy.receiver, *(route.receiver for route in policy.routes)} <= points
            assert {name for route in policy.routes for name in route.mute_time_intervals} <= muted
        return self


class DatasourceJson(Strict):
    httpMethod: Literal["GET", "POST"] | None = None
    timeInterval: Duration | None = None
    prometheusType: Literal["Prometheus", "Cortex", "Mimir", "Thanos"] | None = None
    manageAlerts: bool = False
    alertmanagerUid: Uid | None = None
    tlsAuthWithCACert: bool = False
    implementation: Literal["prometheus", "cortex", "mimir"] | None = None
    handleGrafanaManagedAlerts: bool = False


class Datasource(Strict):
    name: Name
    uid: Uid
    orgId: Literal[1]
    type: Literal["prometheus", "alertmanager"]
    access: Literal["proxy"]
    url: Url
    isDefault: bool = False
    editable: bool
    basicAuth: bool = False
    basicAuthUser: str = ""
    jsonData: DatasourceJson
    secureJsonData: dict[Literal["basicAuthPassword", "tlsCACert"], str] = {}

    @model_validator(mode="after")
    def _says_all_of_a_thing(self) -> "Datasource":
        secrets = self.secureJsonData
        assert self.basicAuth == bool(self.basicAuthUser) == ("basicAuthPassword" in secrets)
        assert self.jsonData.tlsAuthWithCACert == ("tlsCACert" in secrets)
        assert all(re.fullmatch(r"\$__file\{/[^}]+\}", text) for text in secrets.values())
        return self


class DatasourcesFile(Strict):
    apiVersion: Literal[1]
    prune: bool
    datasources: Annotated[list[Datasource], Field(min_length=1)]

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> "DatasourcesFile":
        uids = {source.uid for source in self.datasources}
        assert len(uids) == len(self.datasources)
        assert sum(source.isDefault for source in self.datasources) == 1
        asked = {source.jsonData.alertmanagerUid for source in self.datasources} - {None}
        assert asked <= uids
        return self


class ProviderOptions(Strict):
    path: Annotated[str, Field(pattern="^/")]
    foldersFromFilesStructure: bool


class Provider(Strict):
    name: Name
    orgId: Literal[1]
    type: Literal["file"]
    folder: str
    folderUid: Uid
    disableDeletion: bool
    allowUiUpdates: bool
    updateIntervalSeconds: Annotated[int, Field(ge=10)]
    options: ProviderOptions

    @model_validator(mode="after")
    def _one_idea_of_folders(self) -> "Provider":
        assert bool(self.folder) != self.options.foldersFromFilesStructure
        return self


class ProvidersFile(Strict):
    apiVersion: Literal[1]
    providers: Annotated[list[Provider], Field(min_length=1)]
