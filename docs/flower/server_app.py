"""The coordinator: waits for its sites, runs all rounds, keeps its state on disk."""

from pathlib import Path

from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.flower import server_app
from fercleaner.federation.terms import Settings


def coordinator(context):
    """Return the coordinator that the run's configuration asks for."""
    config = context.run_config
    plan = Plan(int(config["sites"]), Settings(rounds=int(config["rounds"])))
    return Coordinator(Path(config["state"]), plan, print)


app = server_app(coordinator)
