"""The API's client: async for the agent, a small blocking face on the standard library for the CLI and plugins.

In: words and resources. Out: JSON objects, watch events, or errors that carry the server's Status.
Never here: rendering, policy.
"""
