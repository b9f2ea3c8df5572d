"""Attacks of other libraries, by name: LIBRARY:NAME. A library is imported when one of its attacks is asked for."""

from calipers.attacks.adapters.autoattack import AutoAttackMember
from calipers.attacks.adapters.foolbox import FoolboxAttack, FoolboxMinimumNorm

__all__ = ["AutoAttackMember", "FoolboxAttack", "FoolboxMinimumNorm"]
