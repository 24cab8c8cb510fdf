"""A packet and the intent: verdict, and why. An independent second opinion beside the kernel.

In: `intent.HostIntent`, a packet. Out: verdict, the deciding rule, the path. Never here: `render`.
"""
