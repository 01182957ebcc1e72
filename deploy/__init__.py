"""How Tidings is run: on one machine (local), and in Kubernetes (k8s)."""
