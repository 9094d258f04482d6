"""The audit page: data -> dict with a documented schema (`schema.json`) -> template -> one script."""

from .audit import Audit, Options, audit, check_folder
from .material import Material
from .run import gather_for_audit, refine_and_gather

__all__ = ["Audit", "Material", "Options", "audit", "check_folder", "gather_for_audit", "refine_and_gather"]
