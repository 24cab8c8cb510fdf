"""What users and orchestrators declare: typed resources, their validation and the selector language.

In: YAML, JSON or plain dicts. Out: frozen resources, or every fault at once with line, reason and mend.
Never here: storage keys' bytes, I/O, what a host does with a resource.
"""
