"""Rules, alerts and dashboards of Tidings for Prometheus and Grafana, and their check: `deploy.monitoring.check`."""
