"""The shared vocabulary and ports of Tidings. It imports no service.

Reading order: ids, errors, topics, codec; then the ports broker/base and
store/base; then runtime/worker, the loop that all workers share.
"""
