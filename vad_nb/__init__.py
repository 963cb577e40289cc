"""Video anomaly detection you can read, run and check; `dir(vad_nb)` names what a script needs."""
__version__ = "0.1.0"

import os

import lazy_loader

# The threads of OpenMP spin while they wait for each other, which beside other programs makes a
# training up to sixty times slower. A shorter spin costs nothing alone (vad-nb bench threads); it
# has to be said before torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# The names stand in __init__.pyi; each is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
