"""The shared vocabulary and ports of Tidings. Imports no service.

Reading order: ids, errors, topics, codec; then the ports broker/base and
store/base; then runtime/worker, the one loop that all workers share.
"""
