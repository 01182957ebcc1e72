"""Pure state machines: no asyncio, no clock, no client library."""
