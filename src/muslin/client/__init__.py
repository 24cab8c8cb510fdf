"""The API's client: async for the agent, a small blocking face on the standard library for the CLI and plugins.

In: words and resources. Out: JSON objects, watch events, or errors that carry the server's Status.
Never here: rendering, policy.
"""

from muslin.client.blocking import Client
from muslin.client.refusal import ApiError, Unreachable

__all__ = ["ApiError", "Client", "Unreachable"]
