"""The embedded provider: real models in a process of their own, started on first use."""

import os

# The language model's threads wait for each other by spinning. For long, that starves whatever else runs on the cores;
# libgomp reads this once, when the library is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
