"""The log of a process: what it says on standard error, its own lines and those of C libraries.

Knows records, descriptors and what may reach a terminal. Knows nothing of what is told.
"""

from policy_controller.logs.choices import LogFormat, LogLevel
from policy_controller.logs.native import NativeLine, NativeLines
from policy_controller.logs.process import lines_left_out, logging_to_stderr

__all__ = ["LogFormat", "LogLevel", "NativeLine", "NativeLines", "lines_left_out", "logging_to_stderr"]
