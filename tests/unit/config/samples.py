"""Configurations to be read, and to be spoilt."""

from __future__ import annotations

MAIN = "deliver: {sink: box}\n"
WEB = """\
component_type: web
timezone: Europe/Paris
calendar: {holidays: FR, business: [month-end, 15]}
collect:
  - from: sheet
    path: data/web
    every: 5m
    metrics:
      latency.p95: {field: duration, unit: ms, direction: high}
      hits: {counter: true}
detect: [plain, {use: other, half_life: 2h}]
static: {latency.p95: {warning: 300, critical: "@10:20"}}
alert:
  open: {surprise: 5, buckets: 2, of: 3}
  close: {surprise: 3}
  to: {host: "{component}", service: "Anomaly-{component_type}"}
"""
SMALL = "component_type: {}\ncollect: [{{from: sheet, path: x, every: 1m}}]\ndetect: [plain]\n"
