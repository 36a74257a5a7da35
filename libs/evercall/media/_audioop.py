"""The one place that imports `audioop`: sample arithmetic in C, with saturation.

The standard library has it up to Python 3.12, where importing it warns that it will go; afterwards the
package `audioop-lts` brings the same C code under the same name.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

__all__ = ["audioop"]
