"""The benchmark: this gateway beside others, each alone on a core, with the same load and the same upstream.

It is a stranger to the server: it starts gateways as programs, asks them as clients do, and reads the accounts of the
kernel.
"""
