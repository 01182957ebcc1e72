"""Kubernetes manifests (kustomize), and the check that needs no cluster: `python -m deploy.k8s.check`."""
