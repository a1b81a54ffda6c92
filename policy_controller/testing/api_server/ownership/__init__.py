"""Who owns which field: `metadata.managedFields`, and server-side apply, which lives on it.

    fields     the fields of a document as paths
    entries    managedFields, read and written
    tracking   what becomes of ownership when an object is created, updated or patched
    applying   an apply patch: merge, conflicts, what nobody wants any more

Knows documents and their shapes. Knows nothing of storage or HTTP.
"""
