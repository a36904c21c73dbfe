"""How far step groups are behind, for people and for Prometheus."""
