"""How far step groups are behind, for operators and for Prometheus."""
