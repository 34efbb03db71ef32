"""Why a CNN and not an MLP? Both trained by one recipe on this machine, and what came of it.

``models`` are compared by ``experiments``, which train through a ``study`` and yield ``records``; ``run``
collects them. ``tables``, ``plots`` and ``report`` show records and measure nothing. Needs
``pip install "convnet[compare]"``.
"""
