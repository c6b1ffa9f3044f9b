"""python-source: an island of Service Islands in Python, with gRPC and the standard library alone."""

import json
import sys

import goplugin

MANIFEST = {
    "name": "python-source",
    "version": "1.0.0",
    "layer": "external_services",
    "description": "Quotes and candles from Binance Spot, by an island written in Python.",
    "protocol": {"major": 1, "minor": 2},
    "roles": ["quotes", "candles"],
    "settings": [
        {
            "name": "url", "type": "string", "default": "https://data-api.binance.vision",
            "doc": "Base URL of the REST API, without /api/v3.", "secret": False, "required": False,
        },
        {
            "name": "timeout", "type": "duration", "default": "3s",
            "doc": "Bound on one attempt, reading the reply included; 50ms to 1m.", "secret": False, "required": False,
        },
        {
            "name": "calls_per_minute", "type": "int", "default": "600",
            "doc": "Most calls in any minute; 4 to 1000000.", "secret": False, "required": False,
        },
    ],
}


def main():
    if sys.argv[1:] == ["describe"]:
        print(json.dumps(MANIFEST, indent=2))
    elif sys.argv[1:]:
        print(f'python-source: unknown arguments {sys.argv[1:]}; the only one is "describe", which prints the manifest', file=sys.stderr)
        sys.exit(2)
    elif not goplugin.started_by_host():
        print(f"python-source {MANIFEST['version']}: {MANIFEST['description']}")
        print("This is an island of Service Islands. It does nothing by itself: name it in islands.hcl and start the host")
        print('with "islands run". "python-source describe" prints its manifest.')
    else:
        import contract  # Only who serves needs gRPC.
        from binance import Source

        contract.serve(MANIFEST, Source)


main()
