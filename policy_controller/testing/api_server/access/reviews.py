"""Reviews: questions in the form of objects, answered in their status and not stored."""

from collections.abc import Callable, Mapping
from typing import Final

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.access.authentication import Authenticator
from policy_controller.testing.api_server.access.identity import Identity
from policy_controller.testing.api_server.access.rbac import Attributes, Authorizer, Url
from policy_controller.testing.api_server.access.tokens import AUDIENCE, TokenRefusedError
from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.resources import Resource
from policy_controller.testing.api_server.schemas.checks import Findings, fitted
from policy_controller.testing.api_server.schemas.shapes import kind_named


class Reviews:
    """Answers reviews from the tokens and the RBAC objects of one server."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer

    def answer(self, resource: Resource, namespace: str, document: JsonObject, asker: Identity) -> JsonObject:
        """The review with its status.

        Raises:
            ApiError: 400, 422.
        """
        if document.get("kind", resource.kind) != resource.kind:
            raise errors.bad_request(f"{document['kind']} cannot be handled as a {resource.kind}")
        findings = Findings()
        review = fitted(document, kind_named(resource.api_version, resource.kind), findings)
        if findings.mistyped:
            raise errors.bad_request(f"{resource.kind} cannot be decoded: {findings.mistyped[0]}")
        metadata = {**metadata_of(review), "creationTimestamp": None}
        if namespace:
            metadata["namespace"] = namespace
        spec = review.get("spec", {})
        status = ANSWERS[resource.kind](self, _Question(resource, namespace, spec, asker))
        head = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return {**head, **({"spec": spec} if "spec" in review else {}), "status": status}

    def token(self, question: "_Question") -> JsonObject:
        """TokenReview."""
        token = question.spec.get("token", "")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        try:
            made = self._authenticator.authenticate(token, question.spec.get("audiences") or [AUDIENCE])
        except TokenRefusedError as refused:
            # As a real server has it: `authenticated` is left out where it is false.
            return {"user": {}, "error": str(refused)}
        return {"authenticated": True, "user": _user(made.identity), "audiences": list(made.audiences)}

    def subject(self, question: "_Question") -> JsonObject:
        """SubjectAccessReview and LocalSubjectAccessReview."""
        spec = question.spec
        if not spec.get("user") and not spec.get("groups"):
            raise question.refused("spec.user", "at least one of user or group must be specified")
        identity = Identity(spec.get("user", ""), tuple(spec.get("groups", [])))
        return self._decided(question, identity)

    def own_access(self, question: "_Question") -> JsonObject:
        """SelfSubjectAccessReview."""
        return self._decided(question, question.asker)

    def own_rules(self, question: "_Question") -> JsonObject:
        """SelfSubjectRulesReview."""
        namespace = question.spec.get("namespace", "")
        if not namespace:
            raise errors.bad_request("no namespace on request")
        rules = [grant.rule for grant in self._authorizer.grants(question.asker, namespace)]
        return {
            "resourceRules": [rule for rule in rules if rule.get("resources")],
            "nonResourceRules": [
                {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
                for rule in rules
                if rule.get("nonResourceURLs")
            ],
            "incomplete": False,
        }

    def own_name(self, question: "_Question") -> JsonObject:
        """SelfSubjectReview."""
        return {"userInfo": _user(question.asker)}

    def _decided(self, question: "_Question", identity: Identity) -> JsonObject:
        decision = self._authorizer.decide(identity, question.asked())
        return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}


class _Question:
    """A review as it was sent."""

    def __init__(self, resource: Resource, namespace: str, spec: JsonObject, asker: Identity) -> None:
        self.spec = spec
        self.asker = asker
        self._resource = resource
        self._namespace = namespace

    def refused(self, field: str, why: str) -> errors.ApiError:
        """422 for a question that cannot be answered."""
        return errors.invalid(self._resource, "", [FieldFault(field, Fault.INVALID, why, "")])

    def asked(self) -> Attributes | Url:
        """What is to be done."""
        about: JsonObject | None = self.spec.get("resourceAttributes")
        url: JsonObject | None = self.spec.get("nonResourceAttributes")
        if url is not None and about is None:
            return Url(url.get("verb", ""), url.get("path", ""))
        if about is None or url is not None:
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise self.refused("spec.resourceAttributes", why)
        if self._namespace and about.get("namespace", "") != self._namespace:
            raise self.refused("spec.resourceAttributes.namespace", "must match metadata.namespace")
        fields = ("verb", "group", "resource", "subresource", "namespace", "name")
        return Attributes(*(about.get(field, "") for field in fields))


def _user(identity: Identity) -> JsonObject:
    user: JsonObject = {"username": identity.user}
    if identity.uid:
        user["uid"] = identity.uid
    user["groups"] = list(identity.groups)
    if identity.extra:
        user["extra"] = {name: list(values) for name, values in identity.extra.items()}
    return user


ANSWERS: Final[Mapping[str, Callable[[Reviews, _Question], JsonObject]]] = {
    "LocalSubjectAccessReview": Reviews.subject,
    "SelfSubjectAccessReview": Reviews.own_access,
    "SelfSubjectReview": Reviews.own_name,
    "SelfSubjectRulesReview": Reviews.own_rules,
    "SubjectAccessReview": Reviews.subject,
    "TokenReview": Reviews.token,
}
