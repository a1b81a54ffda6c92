"""The life of a namespace: content is admitted while it lives, and it goes when its content has gone.

Plays the admission plugin NamespaceLifecycle and the namespace controller. Knows nothing of HTTP.
"""

from typing import Final

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.documents import metadata_of
from policy_controller.testing.api_server.resources import NAMESPACES, Resource
from policy_controller.testing.api_server.store import Key, Store

INITIAL: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
IMMORTAL: Final = frozenset({"default", "kube-public", "kube-system"})


class NamespaceLife:
    """Watches over the namespaces of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, resource: Resource, namespace: str, name: str) -> None:
        """Refuses new content where there is no namespace for it.

        Raises:
            ApiError: 404 when it does not exist, 403 when it is being deleted.
        """
        stored = self._store.get(NAMESPACES.storage, Key("", namespace))
        if stored is None:
            raise errors.not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in metadata_of(stored.body()):
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(resource, name, why, [cause])

    def settle(self, namespace: str) -> None:
        """Removes a namespace that is being deleted, once it is empty and no finalizer holds it."""
        key = Key("", namespace)
        stored = self._store.get(NAMESPACES.storage, key) if namespace else None
        if stored is None:
            return
        body = stored.body()
        metadata = metadata_of(body)
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return
        if not self._store.shelves_with(namespace):
            body["spec"] = {}
            self._store.remove(NAMESPACES.storage, key, body)
