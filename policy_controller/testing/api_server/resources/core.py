"""The core group, and the two groups whose kinds have grown out of it: events and endpoint slices."""

from typing import Final

from policy_controller.testing.api_server.resources.rows import (
    ALL_VERBS,
    Deletion,
    Generation,
    NameRule,
    Put,
    Resource,
    Scope,
    SelectableField,
    selectable,
)

NAMESPACES: Final = Resource(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    scope=Scope.CLUSTER,
    short_names=("ns",),
    subresources=("status",),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    names=NameRule.LABEL,
    deletion=Deletion.OBJECT,
    fields=selectable("status.phase"),
)

PODS: Final = Resource(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    subresources=("attach", "eviction", "exec", "log", "portforward", "status"),
    generation=Generation.COUNTED,
    deletion=Deletion.OBJECT,
    fields=selectable(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
        **{"spec.hostNetwork": "false"},
    ),
)

_EVENT_FIELDS: Final = selectable(
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "type",
) | {"source": SelectableField(("source", "component"))}

CORE: Final = (
    NAMESPACES,
    PODS,
    Resource(
        group="",
        version="v1",
        kind="Node",
        plural="nodes",
        scope=Scope.CLUSTER,
        short_names=("no",),
        subresources=("status",),
        fields=selectable(**{"spec.unschedulable": "false"}),
    ),
    Resource(
        group="",
        version="v1",
        kind="Event",
        plural="events",
        short_names=("ev",),
        put=Put.CREATES,
        fields=_EVENT_FIELDS,
    ),
    Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", short_names=("cm",)),
    Resource(
        group="",
        version="v1",
        kind="Endpoints",
        plural="endpoints",
        short_names=("ep",),
        put=Put.CREATES,
    ),
    Resource(
        group="",
        version="v1",
        kind="LimitRange",
        plural="limitranges",
        short_names=("limits",),
        put=Put.CREATES,
    ),
    Resource(
        group="",
        version="v1",
        kind="ResourceQuota",
        plural="resourcequotas",
        short_names=("quota",),
        subresources=("status",),
        deletion=Deletion.OBJECT,
    ),
    Resource(group="", version="v1", kind="Secret", plural="secrets", fields=selectable("type")),
    Resource(
        group="",
        version="v1",
        kind="Service",
        plural="services",
        short_names=("svc",),
        categories=("all",),
        subresources=("status",),
        names=NameRule.SERVICE_LABEL,
        deletion=Deletion.OBJECT,
        fields=selectable("spec.clusterIP", "spec.type"),
    ),
    Resource(
        group="",
        version="v1",
        kind="ServiceAccount",
        plural="serviceaccounts",
        short_names=("sa",),
        subresources=("token",),
        deletion=Deletion.OBJECT,
    ),
    Resource(
        group="discovery.k8s.io",
        version="v1",
        kind="EndpointSlice",
        plural="endpointslices",
        generation=Generation.COUNTED,
    ),
    Resource(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        short_names=("ev",),
        put=Put.CREATES,
        shared_storage="events",
        fields=selectable("reason", "type")
        | {
            f"regarding.{name.partition('.')[2]}": row
            for name, row in _EVENT_FIELDS.items()
            if name.startswith("involvedObject.")
        }
        | {"reportingController": SelectableField(("reportingComponent",))},
        # API reference of events.k8s.io/v1: "deprecatedX is the deprecated field assuring backward
        # compatibility with core.v1 Event type".
        renamed={
            "involvedObject": "regarding",
            "message": "note",
            "source": "deprecatedSource",
            "firstTimestamp": "deprecatedFirstTimestamp",
            "lastTimestamp": "deprecatedLastTimestamp",
            "count": "deprecatedCount",
            "reportingComponent": "reportingController",
        },
    ),
)
