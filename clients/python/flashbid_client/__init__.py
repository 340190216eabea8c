"""A typed client of the Flashbid API. Types of bodies and answers: `flashbid_client.models`."""

from flashbid_client.client import Flashbid
from flashbid_client.errors import FlashbidError, Refused, Unreachable

__all__ = ["Flashbid", "FlashbidError", "Refused", "Unreachable"]
