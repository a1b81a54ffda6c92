"""The pure core: values in, values out.

No clock, no I/O, no logging, no asyncio, no framework. What comes in has been read by a shell in
`policy_controller`; what goes out is applied by one.
"""
