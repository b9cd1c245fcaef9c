"""Collections of torch tensors."""

from ..core.collection import Collection, CollectionKeys

__all__ = ["Collection", "CollectionKeys"]
