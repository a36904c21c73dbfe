"""Grafana dashboards of Fleet, as typed Python; `grafana/make.py` writes them as JSON."""
