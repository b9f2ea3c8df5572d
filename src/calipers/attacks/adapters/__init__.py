"""Attacks of other libraries, by name: LIBRARY:NAME. A library is imported when one of its attacks is asked for."""

from calipers.attacks.adapters.autoattack import AutoAttackMember, AutoAttackNearest
from calipers.attacks.adapters.foolbox import FoolboxAttack, FoolboxMinimumNorm

__all__ = ["AutoAttackMember", "AutoAttackNearest", "FoolboxAttack", "FoolboxMinimumNorm"]
