"""The embedded provider: real models in a process of their own, started on first use."""

import os

# The language model's threads wait for each other by spinning. For long, that starves whatever else runs on the cores;
# libgomp reads this once, when the library is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# onnxruntime reports to its maker from the moment it is imported, and writes an identity into the user's home for it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
