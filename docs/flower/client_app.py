"""A site: its set, its method, its file; what runs is the fercleaner that is installed here."""

from pathlib import Path

from fercleaner import Resources, Sources, read
from fercleaner.encoders import build
from fercleaner.extraction.cache import FeatureCache
from fercleaner.federation.flower import client_app
from fercleaner.federation.participant import Participant
from fercleaner.methods import build as method
from fercleaner.pipeline.inputs import Callbacks


def site(context):
    """Return the site that the node's configuration names."""
    config = context.node_config
    sources = Sources(encoders=(build(str(config.get("encoder", "hog"))),))
    resources = Resources(cache=FeatureCache())  # Flower starts a process for each message
    rule = method(str(config.get("method", "consensus")), {})
    return Participant(str(config["name"]), read(str(config["set"])), rule, sources, resources, Callbacks())


app = client_app(site, lambda context: Path(str(context.node_config["set"])).with_suffix(".refined.parquet"))
