"""What the fake Centreon tells of metrics: thresholds, averages and raw rows, with their traps."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tests.centreon_said import Said, as_json, error

if TYPE_CHECKING:
    from tests.centreon_fake import Fake, Service


class Values:
    """Routes about values."""

    fake: Fake

    def metrics(self, query: dict[str, str], body: bytes, host: int, service: int) -> Said:
        found = self._service(host, service)
        if found is None or tuple(map(int, self.fake.version.split(".")[:2])) < (24, 4):
            return error(404, f"Service {service} not found" if found is None else "No route found")
        blank = {f"{which}_{side}_threshold": None for which in ("warning", "critical") for side in ("low", "high")}
        return as_json(
            [
                {"id": place + 1, "name": name, "unit": "", "current_value": None, **blank, **found.metrics.get(name, {})}
                for place, name in enumerate(found.samples)
            ]
        )

    def performance(self, query: dict[str, str], body: bytes, host: int, service: int) -> Said:
        """Averages, at most 550 of them; nothing where there is nothing."""
        found = self._service(host, service)
        if found is None:
            return error(404, f"Service {service} not found")
        start = self._seconds(query.get("start"), self.fake.now() - 86_400)
        end = self._seconds(query.get("end"), self.fake.now())
        if start is None or end is None:
            return error(404, "The date is not valid")
        if start >= end:
            return error(500, "The end date must be greater than the start date")
        step = max(60, -(-int(end - start) // 550))
        times = list(range((int(start) // step + 1) * step, int(end) + step, step))
        listed = []
        for place, (name, samples) in enumerate(found.samples.items()):
            cells: dict[int, list[float]] = {}
            for when, value in samples.items():
                if start <= when < end and value is not None:
                    cells.setdefault((when // step + 1) * step, []).append(value)
            data = [sum(cells[when]) / len(cells[when]) if when in cells else None for when in times]
            listed.append(
                {
                    "index_id": str(service),
                    "metric_id": str(place + 1),
                    "metric": name,
                    "metric_legend": name,
                    "unit": "",
                    "min": None,
                    "max": None,
                    "warn": None,
                    "warn_low": None,
                    "crit": None,
                    "crit_low": None,
                    "virtual": 0,
                    "data": data,
                }
            )
        title = {"title": "Graph performance", "start": self._iso(start), "end": self._iso(end)}
        return as_json({"global": title, "times": [self._iso(when) for when in times], "metrics": listed})

    def download(self, query: dict[str, str], body: bytes, host: int, service: int) -> Said:
        """Rows as they lie in the database: unsorted, 0.000000 where one metric has none, nothing at all after an SQL error."""
        found = self._service(host, service)
        if found is None:
            return error(404, f"Service {service} not found")
        start, end = self._seconds(query.get("start_date"), None), self._seconds(query.get("end_date"), None)
        if start is None or end is None:
            return error(500, "start_date and end_date are required")
        names = list(found.samples)
        if self.fake.unquoted_columns and any(set(name) & set(".#/") for name in names):
            return 200, b"", "application/force-download"
        when = sorted({time for samples in found.samples.values() for time in samples if start <= time < end})
        self.fake.random.shuffle(when)
        lines = [";".join(["time", "humantime", *names])]
        for time in when:
            local = datetime.fromtimestamp(time, self._zone()).strftime("%Y-%m-%d %H:%M:%S")
            values = [found.samples[name].get(time) for name in names]
            lines.append(f'{time};"{local}";' + ";".join(f"{value or 0.0:f}" for value in values))
        return 200, ("\n".join(lines) + "\n").encode(), "application/force-download"

    def _service(self, host: int, service: int) -> Service | None:
        found = self.fake.services.get(service)
        return found if found and found.host.id == host and self.fake.sees(found.host) else None

    def _zone(self) -> timezone:
        hours = int(self.fake.timezone[:3])
        return timezone(timedelta(hours=hours))

    def _iso(self, seconds: float) -> str:
        return datetime.fromtimestamp(int(seconds), self._zone()).isoformat()

    @staticmethod
    def _seconds(text: str | None, otherwise: float | None) -> float | None:
        if text is None:
            return otherwise
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            return None
